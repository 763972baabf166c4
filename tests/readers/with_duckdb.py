"""DuckDB with its own delta extension (Delta kernel and DuckDB's Parquet reader), nothing through Arrow."""

import importlib.util
import pathlib

import duckdb

import in_sql

NAMES = {
    "tinyint": "byte",
    "smallint": "short",
    "integer": "integer",
    "bigint": "long",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "varchar": "string",
    "blob": "binary",
    "date": "date",
    "timestamp with time zone": "timestamp",
    "timestamp": "timestamp_ntz",
}
WORDS = {
    "quote": lambda c: f'"{c}"',
    "micros": lambda c: f"epoch_us({c})",
    "bytes": lambda c, what: f"strlen({c})" if what == "string" else f"octet_length({c})",
    "items": lambda c: f"len({c})",
}


def type_name(t):
    if t.id == "list":
        return f"array<{type_name(dict(t.children)['child'])}>"
    if t.id == "struct":
        return "struct<" + ",".join(f"{name}:{type_name(inner)}" for name, inner in t.children) + ">"
    return NAMES.get(t.id, str(t))


def extension():
    """The file of the delta extension that fits this DuckDB."""
    package = pathlib.Path(importlib.util.find_spec("duckdb_extension_delta").origin).parent
    return package / "extensions" / f"v{duckdb.__version__}" / "delta.duckdb_extension"


class Reader:
    name = "duckdb"

    def __init__(self, options):
        # Unsigned extensions stay forbidden: that the file loads proves that DuckDB signed it.
        self.connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        self.connection.execute(f"load '{extension()}'")
        self.connection.execute(f"set TimeZone = '{options.zone}'")

    def run(self, sql):
        return self.connection.execute(sql).fetchall()

    def read(self, location, types, partition_columns):
        relation = "delta_scan('" + location.replace("'", "''") + "')"
        found = in_sql.summary(self.run, relation, types, partition_columns, WORDS)
        shape = self.connection.sql(f"select * from {relation} limit 0")
        found["types"] = {name: type_name(t) for name, t in zip(shape.columns, shape.types)}
        return found
