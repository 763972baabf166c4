"""The Python package deltalake: delta-rs with its data set over pyarrow."""

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from summary import as_value, kind

NAMES = {
    pa.int8(): "byte",
    pa.int16(): "short",
    pa.int32(): "integer",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.timestamp("us", "UTC"): "timestamp",
    pa.timestamp("us"): "timestamp_ntz",
}


def type_name(t):
    if t in NAMES:
        return NAMES[t]
    if pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t):
        return "string"
    if pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_binary_view(t):
        return "binary"
    if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_list_view(t):
        return f"array<{type_name(t.value_type)}>"
    if pa.types.is_struct(t):
        return "struct<" + ",".join(f"{f.name}:{type_name(f.type)}" for f in t) + ">"
    return str(t)


def figures(values, what):
    out = {"nulls": values.null_count}
    if what in ("timestamp", "date"):
        out["distinct"] = pc.count_distinct(values).as_py()
    if what == "timestamp":
        values = values.cast(pa.int64())
    if what in ("integer", "timestamp", "date", "string"):
        edges = pc.min_max(values).as_py()
        out |= {"min": as_value(edges["min"]), "max": as_value(edges["max"])}
    if what == "integer":
        out["sum"] = pc.sum(values.cast(pa.int64())).as_py()
    if what == "float":
        out["sum"] = pc.sum(values).as_py()
    if what in ("string", "binary"):
        out["bytes"] = pc.sum(pc.binary_length(values)).as_py()
    if what == "boolean":
        out["true"] = pc.sum(values.cast(pa.int64())).as_py()
    if what == "array":
        out["items"] = pc.sum(pc.list_value_length(values)).as_py()
    return out


class Reader:
    name = "deltalake"

    def __init__(self, options):
        self.storage = options.storage

    def read(self, location, types, partition_columns):
        table = DeltaTable(location, storage_options=self.storage)
        data = table.to_pyarrow_dataset()
        columns = {}
        # One column at a time bounds memory.
        for column in types:
            values = data.to_table(columns=[column])[column]
            columns[column] = figures(values, kind(types[column]))
        return {
            "rows": data.count_rows(),
            "types": {f.name: type_name(f.type) for f in data.schema},
            "columns": columns,
            "partitions": partitions(data, partition_columns),
        }


def partitions(data, by):
    if not by:
        return {()}
    found = data.to_table(columns=by).group_by(by).aggregate([])
    lists = []
    for column in by:
        values = found[column]
        if pa.types.is_timestamp(values.type):
            values = values.cast(pa.int64())
        lists.append([as_value(v) for v in values.to_pylist()])
    return set(zip(*lists))
