"""Polars' own Delta scan: its Parquet reader and its partition values from the paths."""

import polars as pl

from summary import as_value, kind

NAMES = {
    pl.Int8: "byte",
    pl.Int16: "short",
    pl.Int32: "integer",
    pl.Int64: "long",
    pl.Float32: "float",
    pl.Float64: "double",
    pl.Boolean: "boolean",
    pl.String: "string",
    pl.Binary: "binary",
    pl.Date: "date",
}


def type_name(t):
    if t == pl.Datetime("us", "UTC"):
        return "timestamp"
    if t == pl.Datetime("us"):
        return "timestamp_ntz"
    if isinstance(t, pl.List):
        return f"array<{type_name(t.inner)}>"
    if isinstance(t, pl.Struct):
        return "struct<" + ",".join(f"{f.name}:{type_name(f.dtype)}" for f in t.fields) + ">"
    return NAMES.get(t.base_type(), str(t))


def expressions(column, what):
    """The figures of one column, each named `column|figure`. An empty sum is null, as everywhere but in Polars."""
    c = pl.col(column)
    some = c.is_not_null().any()

    def total(e):
        return pl.when(some).then(e.cast(pl.Int64).sum())

    out = {"nulls": c.null_count()}
    if what in ("timestamp", "date"):
        out["distinct"] = c.drop_nulls().n_unique()
    if what == "timestamp":
        out |= {"min": c.dt.epoch("us").min(), "max": c.dt.epoch("us").max()}
    if what in ("integer", "date", "string"):
        out |= {"min": c.min(), "max": c.max()}
    if what == "integer":
        out["sum"] = total(c)
    if what == "float":
        out["sum"] = pl.when(some).then(c.sum())
    if what == "string":
        out["bytes"] = total(c.str.len_bytes())
    if what == "binary":
        out["bytes"] = total(c.bin.size())
    if what == "boolean":
        out["true"] = total(c)
    if what == "array":
        out["items"] = total(c.list.len())
    return [e.alias(f"{column}|{figure}") for figure, e in out.items()]


class Reader:
    name = "polars"

    def __init__(self, options):
        self.storage = options.storage

    def read(self, location, types, partition_columns):
        frame = pl.scan_delta(location, storage_options=self.storage)
        wanted = [e for column, t in types.items() for e in expressions(column, kind(t))]
        row = frame.select(pl.len().alias("rows"), *wanted).collect().row(0, named=True)
        columns = {column: {} for column in types}
        for key, value in row.items():
            if key != "rows":
                column, figure = key.rsplit("|", 1)
                columns[column][figure] = as_value(value)
        schema = frame.collect_schema()
        return {
            "rows": row["rows"],
            "types": {name: type_name(t) for name, t in schema.items()},
            "columns": columns,
            "partitions": partitions(frame, schema, partition_columns),
        }


def partitions(frame, schema, by):
    if not by:
        return {()}
    keys = [pl.col(c).dt.epoch("us") if isinstance(schema[c], pl.Datetime) else pl.col(c) for c in by]
    return {tuple(as_value(v) for v in row) for row in frame.select(keys).unique().collect().rows()}
