"""Reads the table with another reader: `readers.py deltalake|duckdb TABLE LAYOUT open|day DAY`. Prints what it found as JSON."""

import datetime
import json
import os
import sys


def with_deltalake(table, layout, what, day):
    import deltalake

    opened = deltalake.DeltaTable(table)
    if what == "open":
        return {"version": opened.version()}
    # By partition where there is one for it: so the log alone says which files to read.
    ends = (f"{day}T00:00:00.000000Z", f"{day + datetime.timedelta(days=1)}T00:00:00.000000Z")
    column = "minute_timestamp"
    where = [("date", "=", str(day))] if layout == "date" else [(column, ">=", ends[0]), (column, "<", ends[1])]
    rows = opened.to_pyarrow_table(partitions=where, columns=["total_count"])
    return {"rows": rows.num_rows, "views": sum(rows["total_count"].to_pylist())}


def with_duckdb(table, layout, what, day):
    import importlib.util
    import pathlib

    import duckdb

    package = pathlib.Path(importlib.util.find_spec("duckdb_extension_delta").origin).parent
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute(f"load '{package}/extensions/v{duckdb.__version__}/delta.duckdb_extension'")
    connection.execute("set TimeZone = 'UTC'")
    where = "false" if what == "open" else where_day(layout, day)
    rows, views = connection.execute(
        f"select count(*), sum(total_count) from delta_scan('{table}') where {where}"
    ).fetchone()
    return {"rows": rows, "views": int(views or 0)}


def where_day(layout, day):
    """The filter on one day, in SQL that DuckDB and DataFusion read alike."""
    if layout == "date":
        return f"date = '{day}'"
    after = day + datetime.timedelta(days=1)
    return f"minute_timestamp >= '{day}T00:00:00Z' and minute_timestamp < '{after}T00:00:00Z'"


if __name__ == "__main__":
    reader = {"deltalake": with_deltalake, "duckdb": with_duckdb}[sys.argv[1]]
    print(json.dumps(reader(sys.argv[2], sys.argv[3], sys.argv[4], datetime.date.fromisoformat(sys.argv[5]))), flush=True)
    # Threads that the libraries leave behind can abort a process that ends in good order.
    os._exit(0)
