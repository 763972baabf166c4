"""The order of events: broker, topic, rounds of legs between calibrations, checks, report."""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile

from . import report, tables
from .cluster import Cluster
from .engines import ALL, Bed
from .measure import Calibration, run, size

SEED = 20_240_101


def options():
    parser = argparse.ArgumentParser(prog="bench/run", description="Several engines, one topic, the same tables.")
    parser.add_argument("--quick", action="store_true", help="3 rounds, a short calibration, medallion, floor and python only")
    parser.add_argument("--events", type=int, help="events of the topic [1,000,000]")
    parser.add_argument("--rounds", type=int, help="rounds, each engine once in each [5]")
    parser.add_argument("--engines", help=f"of {','.join(ALL)} [all; with --quick medallion,floor,python]")
    parser.add_argument("--spark-rounds", type=int, default=3, help="Spark is slow: it sits out after so many rounds [3]")
    parser.add_argument("--growth", metavar="EVENTS,...", help="instead: medallion alone at these sizes, as 1000000,10000000")
    parser.add_argument("--freshness", metavar="RATE", type=int, help="instead: live at this many events per second")
    parser.add_argument("--max-delay", default="250ms", help="with --freshness: bronze commits after so long [250ms; declared: 10s]")
    parser.add_argument("--seconds", type=int, default=120, help="with --freshness: how long [120]")
    parser.add_argument("--name", default="run", help="last word of the report's name")
    parser.add_argument("--out", type=pathlib.Path, help="directory of the report [printed only]")
    given = parser.parse_args()
    # With fewer, also in haste, what a start costs would be counted to the events.
    given.events = given.events or 1_000_000
    given.rounds = given.rounds or (3 if given.quick else 5)
    given.engines = (given.engines or ("medallion,floor,python" if given.quick else ",".join(ALL))).split(",")
    unknown = [name for name in given.engines if name not in ALL]
    if unknown:
        parser.error(f"no engine is called {', '.join(unknown)}: {', '.join(ALL)}")
    return given


def one_round(number, engines, cluster, calibrate, truth):
    """Each engine once, back and forth from round to round. Returns a row per leg."""
    rows, before = [], calibrate()
    for engine in engines if number % 2 else reversed(engines):
        engine.prepare()
        taken, printed, whole = [], [], size(engine.out)[0]
        for label, command in engine.legs():
            cost, text = run(command, cluster, engine.bed.work, engine.environment)
            after, now = calibrate(), size(engine.out)
            taken.append({
                "round": number, "leg": label, "events": engine.bed.events, **cost, "bytes": now[0] - whole, "files": now[1],
                "calibration": [before, after],
            })  # fmt: skip
            before, whole = after, now[0]
            printed.append(text)
            print(f"  round {number} {label}: {cost['cpu_s']:.2f} s CPU, {cost['wall_s']:.2f} s wall", file=sys.stderr)
        for row in taken:
            row["differs"] = differs(engine, printed, truth)
        rows += taken
    return rows


def differs(engine, printed, truth):
    """What is wrong with the engine's tables, or none."""
    try:
        found = engine.tables(printed)
        if found is not None:
            tables.check(found, truth)
        wrong = engine.audit() if hasattr(engine, "audit") else None
    except tables.Differs as error:
        wrong = str(error)
    if wrong:
        print(f"  {type(engine).__name__}: no time, its tables differ: {wrong}", file=sys.stderr)
    return wrong


def compare(given, work, cluster):
    """Rounds of all engines on one topic."""
    print(f"filling view_log with {given.events:,} events", file=sys.stderr)
    truth = cluster.fill("view_log", given.events, SEED)
    if "spark" in given.engines:
        cluster.create("empty")
    bed = Bed(work, cluster.brokers, "view_log", given.events)
    engines = [ALL[name](bed) for name in given.engines]
    calibrate, rows = Calibration(given.quick), []
    for number in range(1, given.rounds + 1):
        playing = [it for it in engines if number <= given.spark_rounds or type(it).__name__ != "Spark"]
        rows += one_round(number, playing, cluster, calibrate, truth)
    truth["gold"] = {"windows": len(truth.get("gold", ())), "views": truth["silver"]}
    return {"rows": rows, "truth": truth}


def growth(given, work, cluster):
    """The whole pipeline on topics of several sizes: what an event costs must not depend on how many came before."""
    sizes, rows, calibrate = [int(events) for events in given.growth.split(",")], [], Calibration(given.quick)
    engines = []
    for events in sizes:
        truth = cluster.fill(f"views_{events}", events, SEED)
        engines.append((ALL["medallion"](Bed(work, cluster.brokers, f"views_{events}", events)), truth))
    for number in range(1, given.rounds + 1):
        for engine, truth in engines if number % 2 else reversed(engines):
            for row in one_round(number, [engine], cluster, calibrate, truth):
                rows.append({**row, "leg": f"{engine.bed.events:,} events"})
    return {"rows": rows, "truth": {}}


def main():
    given = options()
    work = pathlib.Path(os.environ.get("BENCH_DIR") or tempfile.mkdtemp(prefix="medallion-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    made = "BENCH_DIR" not in os.environ
    try:
        with Cluster(work, int(os.environ.get("BENCH_KAFKA_PORT", "27092"))) as cluster:
            if given.freshness:
                from . import freshness

                found = freshness.measure(given, work, cluster)
            else:
                found = growth(given, work, cluster) if given.growth else compare(given, work, cluster)
    finally:
        if made:
            shutil.rmtree(work, ignore_errors=True)
    report.publish(given, found)
    if any(row.get("differs") for row in found["rows"]):
        raise SystemExit(3)


if __name__ == "__main__":
    main()
