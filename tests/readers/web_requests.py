"""Compares gold of web_requests with what DuckDB computes from the NDJSON file, figure by figure.

    web_requests.py FILE LAKE [--project DIR]

The file is the truth: it never went through Kafka or medallion. Exit 1 and the first differing minutes if a figure differs.
"""

import argparse
import pathlib
import sys
import tomllib

import duckdb
from deltalake import DeltaTable

# From the file: one row per request, so a repeated request_id counts once.
EXPECTED = """
    create table expected as
    with request as (
        select request_id, any_value(epoch_us(time)) // 60000000 * 60000000 as minute, any_value(client_ip) as client_ip,
               any_value(status) as status, any_value(bytes) as bytes
        from read_json(?, format = 'newline_delimited', columns = {
            request_id: 'varchar', time: 'timestamptz', client_ip: 'varchar', status: 'integer', bytes: 'bigint'})
        group by request_id
    )
    select minute, cast(status // 100 as varchar) || 'xx' as status_class, count(*) as requests,
           cast(coalesce(sum(bytes), 0) as bigint) as bytes, count(distinct client_ip) as client_ips,
           count(*) filter (where status >= 400) as errors,
           cast(make_timestamp(minute) as date) as date
    from request group by minute, status_class
"""
FOUND = """
    create table found as
    select epoch_us({start}) as minute, status_class, requests, cast(bytes as bigint) as bytes, client_ips, errors, {date} as date
    from gold
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("lake")
    parser.add_argument("--project", default=".")
    options = parser.parse_args()
    with open(pathlib.Path(options.project) / "layers/web_requests/gold.toml", "rb") as file:
        table = tomllib.load(file)["table"][0]
    window = table["window"]
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    for name in ("gold", "late"):
        location = f"{options.lake}/web_requests/{name}/{table['name']}"
        connection.register(name, DeltaTable(location).to_pyarrow_dataset())
    connection.execute(EXPECTED, [options.file])
    connection.execute(FOUND.format(start=f'"{window["start"]}"', date=f'"{window["date"]}"'))

    def one(sql):
        return connection.execute(sql).fetchone()[0]

    problems = 0
    for here, there, word in (("expected", "found", "missing or wrong in gold"), ("found", "expected", "not from the file")):
        rows = connection.execute(f"select * from {here} except all select * from {there} order by all").fetchall()
        problems += len(rows)
        for row in rows[:5]:
            print(f"{word}: (minute, status_class, requests, bytes, client_ips, errors, date) = {row}", file=sys.stderr)
    late = one("select count(*) from late")
    if late:
        print(f"{late} late rows, although the file is out of order by less than the watermark", file=sys.stderr)
    rows, requests = one("select count(*) from expected"), one("select sum(requests) from expected")
    if problems or late or not rows:
        print(f"web_requests differs: {problems} rows of {rows}", file=sys.stderr)
        sys.exit(1)
    print(f"web_requests agrees: {rows} gold rows of {requests} requests, every figure equal to DuckDB's")


if __name__ == "__main__":
    main()
