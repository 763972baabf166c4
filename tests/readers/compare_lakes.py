"""Compares all tables of two lakes of one pipeline, row by row. Exit 1 and the first differing rows if they differ.

    compare_lakes.py LEFT RIGHT PIPELINE [--project DIR] [--records]

Without --records every column counts but the wall clock of bronze (`ingested_at`, `ingest_date`): for lakes that share one
bronze, such as a replay or a crash and its uninterrupted twin.

With --records the lakes read the same topic on their own. Then two things may differ rightly: `seq`, because partitions interleave
as the broker answers, and with it which rows were late. So rows are compared by (topic, partition, offset), ticks are left
out, and gold is compared where both lakes had the same late rows; the windows left out by that are counted and shown.
"""

import argparse
import pathlib
import sys
import tomllib

import duckdb
from deltalake import DeltaTable

CLOCK = {"ingested_at", "ingest_date"}


class Lakes:
    """Both lakes as DuckDB views `l_<table>` and `r_<table>`."""

    def __init__(self, left, right, pipeline, gold):
        self.connection = duckdb.connect()
        self.connection.execute("set TimeZone = 'UTC'")
        self.columns, self.problems = {}, 0
        names = ["bronze", "silver", "rejects"] + [f"{kind}/{t['name']}" for t in gold for kind in ("gold", "late")]
        for name in names:
            for side, lake in (("l", left), ("r", right)):
                data = DeltaTable(f"{lake}/{pipeline}/{name}").to_pyarrow_dataset()
                self.connection.register(view(side, name), data)
                self.columns[side, name] = data.schema.names
            if sorted(self.columns["l", name]) != sorted(self.columns["r", name]):
                self.problems += 1
                print(f"{name}: columns differ: {self.columns['l', name]} and {self.columns['r', name]}", file=sys.stderr)

    def rows(self, sql):
        return self.connection.execute(sql).fetchall()

    def select(self, side, name, drop=()):
        kept = ", ".join(f'"{c}"' for c in sorted(self.columns[side, name]) if c not in drop)
        return f'select {kept} from "{view(side, name)}"'

    def compare(self, name, left, right, note=""):
        """Compares two queries as bags of rows."""
        counts = [self.rows(f"select count(*) from ({q})")[0][0] for q in (left, right)]
        differing = 0
        for here, there, word in ((left, right, "only in the first"), (right, left, "only in the second")):
            # Text first: DuckDB's Python client needs one more package to hand out instants with a zone.
            found = self.rows(f"with d as (({here}) except all ({there})) select cast(d as varchar), count(*) over () from d limit 3")
            differing += found[0][1] if found else 0
            for row, _ in found:
                print(f"{name}: {word}: {row}", file=sys.stderr)
        print(f"{name}: {counts[0]} and {counts[1]} rows, {differing} differ{note}")
        self.problems += counts[0] != counts[1] or differing > 0
        return counts[0]


def view(side, name):
    return f"{side}_{name.replace('/', '_')}"


def exactly(lakes, gold):
    for name in ["bronze", "silver", "rejects"] + [f"{k}/{t['name']}" for t in gold for k in ("gold", "late")]:
        lakes.compare(name, lakes.select("l", name, CLOCK), lakes.select("r", name, CLOCK))


def by_records(lakes, gold):
    def both(name, make, note=""):
        lakes.compare(name, make("l"), make("r"), note)

    both("bronze", lambda s: lakes.select(s, "bronze", CLOCK | {"seq"}) + " where kind = 'record'")
    both("silver", lambda s: lakes.select(s, "silver", {"_seq", "_watermark"}))
    # A duplicate names its original by seq, also in words: follow it to the original's place in the topic.
    both(
        "rejects",
        lambda s: f"""
            select {", ".join(f'j."{c}"' for c in sorted(lakes.columns[s, "rejects"])
                              if c not in CLOCK | {"seq", "duplicate_of", "detail"})},
                   case when j.duplicate_of is null then j.detail end as detail,
                   o.topic as original_topic, o.partition as original_partition, o."offset" as original_offset
            from "{view(s, "rejects")}" j left join "{view(s, "bronze")}" o on o.seq = j.duplicate_of
        """,
    )
    for table in gold:
        windows(lakes, table)


def windows(lakes, table):
    """Gold rows of the windows and groups whose late rows are the same records in both lakes."""
    name = table["name"]
    keys = [table["window"]["start"], *table.get("group_by", [])]
    late = {
        s: f"""select {", ".join(f't."{k}"' for k in keys)}, r._partition, r._offset
               from "{view(s, "late/" + name)}" t join "{view(s, "silver")}" r on r._seq = t._seq"""
        for s in "lr"
    }
    key = ", ".join(f'"{k}"' for k in keys)
    lakes.rows(
        f"""create or replace temp table unlike as select distinct {key} from (
              (({late["l"]}) except all ({late["r"]})) union all (({late["r"]}) except all ({late["l"]})))"""
    )
    left_out = lakes.rows("select count(*) from unlike")[0][0]
    same = " and ".join(f'u."{k}" is not distinct from g."{k}"' for k in keys)
    compared = lakes.compare(
        f"gold/{name}",
        *(f"select * from ({lakes.select(s, 'gold/' + name)}) g where not exists (select 1 from unlike u where {same})" for s in "lr"),
        note=f" ({left_out} windows with other late rows left out)",
    )
    if left_out and not compared:
        lakes.problems += 1
        print(f"gold/{name}: every window was left out, so nothing is proven: fewer late events, please", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("left")
    parser.add_argument("right")
    parser.add_argument("pipeline")
    parser.add_argument("--project", default=".")
    parser.add_argument("--records", action="store_true")
    options = parser.parse_args()
    with open(pathlib.Path(options.project) / "layers" / options.pipeline / "gold.toml", "rb") as file:
        gold = tomllib.load(file).get("table", [])
    lakes = Lakes(options.left, options.right, options.pipeline, gold)
    if not lakes.problems:
        (by_records if options.records else exactly)(lakes, gold)
    print("lakes differ" if lakes.problems else "lakes agree")
    sys.exit(1 if lakes.problems else 0)


if __name__ == "__main__":
    main()
