"""Opens every table of a pipeline with four independent readers and compares what they say.

    check.py LAKE PIPELINE [--project DIR] [--jars DIR] [--readers deltalake,polars,duckdb,spark]

One JSON line per table and reader on stdout, then `readers agree: ...`, or each difference on stderr and exit code 1.
Readers: deltalake (pyarrow), Polars, DuckDB with its delta extension, Spark with Delta; the two that have a session time zone
run in one that is not UTC.
"""

import argparse
import importlib
import json
import pathlib
import sys
import time
import tomllib

from deltalake import DeltaTable

import summary

READERS = ("deltalake", "polars", "duckdb", "spark")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake", help="directory of the lake, or its URL")
    parser.add_argument("pipeline")
    parser.add_argument("--project", default=".", help="where layers/<pipeline>/gold.toml names the gold tables")
    parser.add_argument("--jars", default="", help="directory of the Delta jars for Spark")
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--zone", default="America/New_York", help="session time zone of DuckDB and Spark")
    options = parser.parse_args()
    options.storage = None
    if options.lake.startswith("file://"):
        options.lake = options.lake.removeprefix("file://")
    if "://" not in options.lake:
        options.lake = str(pathlib.Path(options.lake).resolve())
    return options


def tables(options):
    """Names of the pipeline's tables, relative to its directory."""
    definition = pathlib.Path(options.project) / "layers" / options.pipeline / "gold.toml"
    with open(definition, "rb") as file:
        gold = [table["name"] for table in tomllib.load(file).get("table", [])]
    return ["bronze", "silver", "rejects", *(f"gold/{n}" for n in gold), *(f"late/{n}" for n in gold)]


def compare(reader, name, location, truth, reference):
    """Reads one table with one reader; prints its line; gives the summary and the differences."""
    begun = time.monotonic()
    try:
        found = reader.read(location, truth["types"], truth["partition_columns"])
    except Exception as error:  # any failure to read is a finding about the table, whatever library raised it
        return None, [f"{name}: {reader.name} cannot read it: {type(error).__name__}: {str(error)[:500]}"]
    line = {
        "table": name,
        "reader": reader.name,
        "rows": found["rows"],
        "partitions": len(found["partitions"]),
        "seconds": round(time.monotonic() - begun, 2),
        "types": found["types"],
        "columns": found["columns"],
    }
    print(json.dumps(line, default=str), flush=True)
    wanted = {**truth, "rows": found["rows"], "columns": found["columns"]} if reference is None else {**truth, **reference}
    return found, [f"{name}: {reader.name}: {d}" for d in summary.differences(wanted, found)]


def main():
    options = arguments()
    readers = [importlib.import_module(f"with_{name}").Reader(options) for name in options.readers.split(",")]
    problems, rows, names = [], 0, tables(options)
    for name in names:
        location = f"{options.lake}/{options.pipeline}/{name}"
        try:
            truth = summary.from_log(DeltaTable(location, storage_options=options.storage))
        except Exception as error:  # no table, a broken log or a partition value of the wrong form
            problems.append(f"{name}: {type(error).__name__}: {error}")
            continue
        reference = None
        for reader in readers:
            found, differences = compare(reader, name, location, truth, reference)
            problems += differences
            if found and reference is None:
                reference = {"rows": found["rows"], "columns": found["columns"]}
        rows += reference["rows"] if reference else 0
    for reader in readers:
        if hasattr(reader, "close"):
            reader.close()
    if problems:
        for problem in problems:
            print(problem, file=sys.stderr)
        print(f"readers differ: {len(problems)} differences", file=sys.stderr)
        sys.exit(1)
    print(f"readers agree: {', '.join(r.name for r in readers)} on {len(names)} tables, {rows} rows of {options.pipeline}")


if __name__ == "__main__":
    main()
