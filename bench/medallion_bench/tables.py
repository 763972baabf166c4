"""What is in the tables of each engine, in one form, so that it can be compared with the truth and with each other.

Gold is {(campaign, network, minute in microseconds): (views, microseconds of all views)}: whole numbers, because two
engines may round a mean differently, and a wrong one is off by more than half a microsecond per view.
"""

import polars as pl
from deltalake import DeltaTable

GOLD = ["campaign_id", "network_id", "minute_timestamp", "avg_duration", "total_count"]
# A window and the time that an append query waits for stragglers.
HELD_BACK = 60_000_000 + 10_000_000


class Differs(Exception):
    """The tables are not what they must be: the run gets no time."""


def _delta(path, *columns):
    table = DeltaTable(str(path)).to_pyarrow_dataset().to_table(columns=list(columns))
    return pl.from_arrow(table)


def _gold(rows):
    minutes = rows["minute_timestamp"].dt.replace_time_zone(None).dt.timestamp("us")
    keys = zip(rows["campaign_id"], rows["network_id"], minutes)
    sums = [(count, round(mean * count * 1e6)) for count, mean in zip(rows["total_count"], rows["avg_duration"])]
    gold = dict(zip(keys, sums))
    if len(gold) != len(rows):
        raise Differs(f"gold has {len(rows) - len(gold)} windows twice")
    return gold


def _reasons(rows):
    return dict(rows["reason"].value_counts().iter_rows())


def gold_of_parquet(path):
    """Gold from one Parquet file."""
    return _gold(pl.read_parquet(path, columns=GOLD))


def of_medallion(root):
    """Bronze's ticks are no records."""
    kinds = dict(_delta(root / "bronze", "kind")["kind"].value_counts().iter_rows())
    return {
        "bronze": kinds["record"],
        "silver": len(_delta(root / "silver", "_seq")),
        "rejects": _reasons(_delta(root / "rejects", "reason")),
        "late": len(_delta(root / "late" / "views_per_minute", "_seq")),
        "gold": _gold(_delta(root / "gold" / "views_per_minute", *GOLD)),
    }


def of_floor(directory, printed):
    """The floor keeps no rejects; it prints their number."""
    rows = lambda name, column: len(pl.read_parquet(directory / f"{name}.parquet", columns=[column]))
    fates = dict(printed["fates"])
    accepted = fates.pop("accepted")
    silver = rows("silver", "_seq")
    if silver != accepted:
        raise Differs(f"the floor accepted {accepted} and wrote {silver}")
    return {"bronze": rows("bronze", "seq"), "silver": silver, "rejects": fates, "gold": gold_of_parquet(directory / "gold.parquet")}


def of_delta(lake):
    """A peer's lake; one that keeps no rejects is not asked for them."""
    found = {
        "bronze": len(_delta(lake / "bronze", "offset")),
        "silver": len(_delta(lake / "silver", "view_id")),
        "gold": _gold(_delta(lake / "gold", *GOLD)),
    }
    if (lake / "rejects").is_dir():
        found["rejects"] = _reasons(_delta(lake / "rejects", "reason"))
    return found


def check(found, truth):
    """Compares with the truth of the generator and, once known, with the gold of the engine that came first."""
    for name in ("bronze", "silver"):
        if found[name] != truth[name]:
            raise Differs(f"{name} has {found[name]} rows and should have {truth[name]}")
    wanted = {reason: count for reason, count in truth["rejects"].items() if count}
    if "rejects" in found and found["rejects"] != wanted:
        raise Differs(f"rejects are {found['rejects']} and should be {wanted}")
    if found.get("late"):
        raise Differs(f"{found['late']} rows are late, and none was sent late")
    if found.get("open_windows"):
        return _closed(found["gold"], truth)
    counted = sum(count for count, _ in found["gold"].values())
    if counted != truth["silver"]:
        raise Differs(f"gold counts {counted} views of {truth['silver']}")
    if truth.setdefault("gold", found["gold"]) != found["gold"]:
        raise Differs("gold differs from the other engines'")


def _closed(gold, truth):
    if "gold" not in truth:
        raise Differs("no other engine has computed gold: run one beside it")
    newest = max(minute for _, _, minute in truth["gold"])
    due = {key: sums for key, sums in truth["gold"].items() if key[2] + HELD_BACK <= newest}
    wrong = [key for key, sums in gold.items() if truth["gold"].get(key) != sums]
    missing = due.keys() - gold.keys()
    if wrong or missing:
        raise Differs(f"gold: {len(wrong)} windows differ, {len(missing)} are missing of {len(due)} that are due")
