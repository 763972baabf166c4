"""How old rows are when they can be queried: the program runs live, a producer sends at a fixed rate, whatever happens.

The producer is paced by the clock and not by the program (an open loop), so a stall shows in every row it delays. The
topic's timestamps are the broker's own (LogAppendTime): a row's age is counted from when Kafka had it. A commit is in
effect when its log entry has its final name, so its time is the entry's mtime.
"""

import datetime as dt
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.parse

import pyarrow.parquet as pq

from .engines import Bed, Medallion

# Rows of the first seconds wait for clients that are still connecting.
WARM_UP = 10.0
GOLD_DELAY_US = 10_000_000
MINUTE_US = 60_000_000
MEANING = (
    "milliseconds from the broker's timestamp of a row to the commit that made it readable, every row counted; for gold from the "
    "end of the window plus the 10 s that it waits for stragglers"
)


def commits(table, since):
    """(commit time in seconds, files that it added) of each commit after `since`."""
    for entry in sorted((table / "_delta_log").glob("*.json")):
        at = entry.stat().st_mtime_ns / 1e9
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        adds = [action["add"] for action in actions if "add" in action and action["add"].get("dataChange", True)]
        if at >= since and adds:
            yield at, adds


def ages(table, column, since):
    """Milliseconds from the instant in `column` of each row to its commit."""
    found, count = [], 0
    for at, adds in commits(table, since):
        count += 1
        for add in adds:
            # Read as one file: the partition values in its path are no columns of it.
            rows = pq.ParquetFile(table / urllib.parse.unquote(add["path"])).read(columns=[column])
            for instant in rows[column].drop_null().cast("int64").to_pylist():
                found.append(at * 1000 - instant / 1000)
    return count, found


def gold_ages(table, since):
    """Milliseconds by which each window's commit came after the window could be closed."""
    found, count = [], 0
    for at, adds in commits(table, since):
        count += 1
        for add in adds:
            minute = dt.datetime.fromisoformat(add["partitionValues"]["minute_timestamp"]).timestamp() * 1e6
            rows = json.loads(add["stats"])["numRecords"]
            found += [at * 1000 - (minute + MINUTE_US + GOLD_DELAY_US) / 1000] * rows
    return count, found


def summary(count, found):
    """Percentiles by rank."""
    found = sorted(found)
    if not found:
        raise SystemExit("no commit in the measured time: run longer; gold needs two minutes at least")
    rank = lambda share: found[min(len(found) - 1, int(share * len(found)))]
    return {"commits": count, "rows": len(found), "p50_ms": rank(0.5), "p99_ms": rank(0.99), "max_ms": found[-1]}


def measure(given, work, cluster):
    """Runs the pipeline live for a while. Returns what the report prints."""
    cluster.create("live", message_timestamp_type="LogAppendTime", retention_ms="-1")
    engine = Medallion(Bed(work, cluster.brokers, "live", 0, given.max_delay))
    engine.prepare()
    environment = {**os.environ, **engine.environment}
    with open(work / "live.log", "w") as log:
        program = subprocess.Popen(
            list(map(str, engine.program("run", "-p", "view_log"))), env=environment, stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            time.sleep(3)
            began = time.time()
            rate = str(given.freshness)
            words = ["--rate", rate, "--event-rate", rate, "--start", "now"]
            subprocess.run(
                cluster.produce("live", given.freshness * given.seconds, 1, *words), check=True, stdout=subprocess.DEVNULL
            )
            sent = time.time() - began
            time.sleep(2)
        finally:
            program.send_signal(signal.SIGTERM)
            code = program.wait(timeout=60)
    if code != 0:
        raise SystemExit(f"run ended with {code}: {(work / 'live.log').read_text()[-2000:]}")
    if sent > given.seconds * 1.05:
        raise SystemExit(f"sending took {sent:.0f} s instead of {given.seconds}: {given.freshness} events/s is more than this machine has")
    wrong = engine.audit()
    if wrong:
        raise SystemExit(wrong)
    root, since = pathlib.Path(engine.lake) / "view_log", began + WARM_UP
    layers = {
        "bronze": summary(*ages(root / "bronze", "timestamp", since)),
        "silver": summary(*ages(root / "silver", "_timestamp", since)),
        "gold, excess": summary(*gold_ages(root / "gold" / "views_per_minute", since)),
    }
    found = {"rate": given.freshness, "seconds": given.seconds, "meaning": f"bronze commits after {given.max_delay}; {MEANING}", "layers": layers}
    return {"rows": [], "truth": {}, "freshness": found}
