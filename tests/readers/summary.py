"""What every reader must say alike about a table, and the words in which they say it.

A summary is a dictionary: `rows`, `types` (column -> Delta type name), `columns` (column -> figures), `partitions` (set of
tuples). Instants are microseconds since 1970 UTC, so no reader's time zone shows in them.
"""

import datetime as dt
import json
import re

ISO_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z")
INTEGERS = ("byte", "short", "integer", "long")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def type_name(delta_type):
    """A type of a Delta schema (JSON) as one line: `long`, `array<struct<key:string,value:binary>>`."""
    if isinstance(delta_type, str):
        return delta_type
    if delta_type["type"] == "array":
        return f"array<{type_name(delta_type['elementType'])}>"
    if delta_type["type"] == "struct":
        inside = ",".join(f"{f['name']}:{type_name(f['type'])}" for f in delta_type["fields"])
        return f"struct<{inside}>"
    raise ValueError(f"no name for the Delta type {delta_type}")


def kind(name):
    """Which figures a column of this type gets."""
    if name in INTEGERS:
        return "integer"
    if name in ("float", "double"):
        return "float"
    if name.startswith("array<"):
        return "array"
    if name in ("timestamp", "date", "string", "binary", "boolean"):
        return name
    return "other"


def instant_micros(text):
    """`2026-01-01T00:00:00.000000Z` as microseconds; any other form is an error, because Spark would read it in its own zone."""
    if not ISO_INSTANT.fullmatch(text):
        raise ValueError(f"partition value {text!r} is not in the form 2026-01-01T00:00:00.000000Z")
    instant = dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=dt.timezone.utc)
    return (instant - EPOCH) // dt.timedelta(microseconds=1)


def partition_value(text, name):
    """One partition value of the log in the form readers give it."""
    if text is None:
        return None
    if name == "timestamp":
        return instant_micros(text)
    if name in INTEGERS:
        return int(text)
    return text


def from_log(table):
    """Types, partition values, rows and comments as the Delta log itself states them, read by nobody's Parquet reader."""
    fields = json.loads(table.schema().to_json())["fields"]
    types = {f["name"]: type_name(f["type"]) for f in fields}
    by = table.metadata().partition_columns
    values = {tuple(partition_value(p[c], types[c]) for c in by) for p in table.partitions()} if by else {()}
    return {
        "types": types,
        "partition_columns": by,
        "partitions": values,
        "comment": table.metadata().description or None,
        "column_comments": {f["name"]: f["metadata"].get("comment") for f in fields},
    }


def as_value(value):
    """A partition value or figure as JSON can hold it."""
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    return value


def same(left, right):
    """Equal, or for floats equal up to the order of a sum's additions."""
    if isinstance(left, float) and isinstance(right, float):
        return abs(left - right) <= 1e-9 * max(1.0, abs(left), abs(right))
    return left == right


def differences(wanted, found):
    """Sentences that say where two summaries of one table differ."""
    if wanted["rows"] != found["rows"]:
        yield f"rows: {wanted['rows']} != {found['rows']}"
    for column, name in wanted["types"].items():
        if found["types"].get(column) != name:
            yield f"type of {column}: {name} != {found['types'].get(column)}"
    for column in found["types"].keys() - wanted["types"].keys():
        yield f"column {column} is not in the schema"
    for column, figures in wanted["columns"].items():
        for figure, value in figures.items():
            other = found["columns"].get(column, {}).get(figure)
            if not same(value, other):
                yield f"{figure} of {column}: {value!r} != {other!r}"
    if wanted["partitions"] != found["partitions"]:
        only = sorted(wanted["partitions"] - found["partitions"], key=str)[:3]
        more = sorted(found["partitions"] - wanted["partitions"], key=str)[:3]
        yield f"partitions: missing {only}, unexpected {more}"
    for what in ("comment", "column_comments"):
        if what in found and wanted[what] != found[what]:
            yield f"{what}: {wanted[what]!r} != {found[what]!r}"
