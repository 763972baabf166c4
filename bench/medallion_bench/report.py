"""The report: absolute numbers, ratios per round, and everything needed to judge them. Markdown for people, JSON beside it."""

import datetime as dt
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess

from .cluster import PROJECT, SHARES

DRIFT = 0.10
PACKAGES = ("confluent-kafka", "msgspec", "polars", "deltalake", "duckdb", "pyarrow")


def publish(given, found):
    """Prints the report; with --out writes it as DATE-NAME.md and .json."""
    found["machine"] = machine()
    found["settings"] = {key: str(value) for key, value in vars(given).items() if value is not None} | {"shares": SHARES}
    text = render(found)
    print(text)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        stem = given.out / f"{dt.date.today()}-{given.name}"
        stem.with_suffix(".md").write_text(text)
        stem.with_suffix(".json").write_text(json.dumps(found, indent=1, default=str) + "\n")


def machine():
    """What the numbers depend on besides the code."""
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    memory = next(int(l.split()[1]) // 1024 for l in open("/proc/meminfo") if l.startswith("MemTotal"))
    say = lambda *words: subprocess.run(words, capture_output=True, text=True, cwd=PROJECT).stdout.strip()
    kafka = re.search(r"<kafka.version>([^<]+)", (PROJECT / "scripts/kafka/pom.xml").read_text())
    return {
        "cpu": cpu, "cores": os.cpu_count(), "memory_mib": memory, "kernel": platform.release(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "commit": say("git", "rev-parse", "--short", "HEAD") + (" and changes" if say("git", "status", "--porcelain", "src") else ""),
        "program": say(os.environ["MEDALLION_BIN"], "--version"),
        "build": "release" if "release" in pathlib.Path(os.environ["MEDALLION_BIN"]).parts else "not known to be a release build",
        "rustc": say("rustc", "--version"), "python": platform.python_version(), "kafka": kafka and kafka[1],
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }  # fmt: skip


def drift(rows):
    """By how much the calibration kernel cost more at one time than at another, right before and after these runs."""
    costs = [point["cpu_s"] for row in rows for point in row["calibration"]]
    return max(costs) / min(costs) - 1


def calibrated(row):
    """CPU time in units of the kernel's, right before and after the run: what the machine was worth in that moment."""
    return row["cpu_s"] / statistics.mean(point["cpu_s"] for point in row["calibration"])


def spread(values, form):
    values = sorted(values)
    middle = form(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form(values[0])} – {form(values[-1])})"


def render(found):
    """The whole report as Markdown."""
    lines = [f"# Benchmark of {dt.date.today()}", ""]
    if "freshness" in found:
        lines += freshness(found["freshness"])
    if found["rows"]:
        lines += comparison(found["rows"], found["truth"])
    lines += ["## Machine and settings", "", "```json"]
    lines += [json.dumps({"machine": found["machine"], "settings": found["settings"]}, indent=1), "```", ""]
    return "\n".join(lines)


def comparison(rows, truth):
    """Absolute numbers, ratios, what the machine did."""
    legs = list(dict.fromkeys(row["leg"] for row in rows))
    right = [row for row in rows if not row.get("differs")]
    by = {leg: [row for row in right if row["leg"] == leg] for leg in legs}
    lines = [
        "CPU is user and system time of the whole process tree, the broker's apart. Median (min – max) over the runs that count: those around "
        "which the calibration kernel cost the same within 10 %, or, with a star, all of them where that holds for none.", "",
    ]  # fmt: skip
    lines += ["| leg | runs | CPU ns/event | wall s | events/s | peak RSS MiB | written MiB | files | broker ns/event |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    lines += [absolute(leg, mine) for leg, mine in by.items()]
    return lines + [""] + ratios(by, legs) + rounds(rows, truth)


def absolute(leg, right):
    """One leg's numbers."""
    if not right:
        return f"| {leg} | 0 | no run has the right tables | | | | | | |"
    steady = [row for row in right if drift([row]) <= DRIFT]
    mine = steady or right
    each = lambda key, scale=1.0: [row[key] * scale for row in mine]
    per_event = lambda key: [row[key] * 1e9 / row["events"] for row in mine]
    speed = [row["events"] / row["wall_s"] for row in mine]
    mib = 1 / (1 << 20)
    return (
        f"| {leg} | {len(mine)}{'' if steady else '*'} | {spread(per_event('cpu_s'), '{:,.0f}'.format)} "
        f"| {spread(each('wall_s'), '{:.2f}'.format)} "
        f"| {spread(speed, '{:,.0f}'.format)} | {spread(each('peak_rss_bytes', mib), '{:,.0f}'.format)} "
        f"| {statistics.median(each('bytes', mib)):,.1f} | {mine[-1]['files']} | {spread(per_event('broker_s'), '{:,.0f}'.format)} |"
    )


def ratios(by, legs):
    """Each leg over the first of the list, within the same round."""
    base = legs[0]
    per = {
        "CPU": lambda row: row["cpu_s"] / row["events"],
        "CPU, calibrated": lambda row: calibrated(row) / row["events"],
        "wall": lambda row: row["wall_s"] / row["events"],
        "peak RSS": lambda row: row["peak_rss_bytes"],
        "bytes": lambda row: row["bytes"] / row["events"],
    }
    lines = [
        f"Ratios over `{base}`, formed within each round; calibrated: of each run's CPU time over that of the kernel around it.", "",
        f"| leg | rounds | {' | '.join(per)} |", "|---|---|" + "---|" * len(per),
    ]  # fmt: skip
    of_round = {row["round"]: row for row in by[base]}
    for leg in legs[1:]:
        pairs = [(row, of_round[row["round"]]) for row in by[leg] if row["round"] in of_round]
        cells = [spread([of(mine) / of(other) for mine, other in pairs if of(other)] or [0], "{:.2f}".format) for of in per.values()]
        if pairs:
            lines.append(f"| {leg} | {len(pairs)} | " + " | ".join(cells) + " |")
    return lines + [""]


def rounds(rows, truth):
    """What the machine did in each round, and which runs have no time."""
    lines = []
    for number in sorted({row["round"] for row in rows}):
        mine = [row for row in rows if row["round"] == number]
        points = [point for row in mine for point in row["calibration"]]
        cpu, wall = sum(p["cpu_s"] for p in points), sum(p["wall_s"] for p in points)
        lines.append(f"- round {number}: calibration drifts by {drift(mine):.0%} over all of it; it had {cpu / wall:.0%} of a core")
    lines += [f"- {row['leg']}, round {row['round']}: no time, its tables differ: {row['differs']}" for row in rows if row.get("differs")]
    if truth:
        lines.append(f"- the tables of every counted run: {json.dumps({key: value for key, value in truth.items()})}")
    return ["## Rounds", "", *lines, ""]


def freshness(found):
    """Commit time minus Kafka time, per layer."""
    lines = [f"Live at {found['rate']:,} events/s for {found['seconds']} s; {found['meaning']}.", ""]
    lines += ["| layer | commits | rows | p50 ms | p99 ms | max ms |", "|---|---|---|---|---|---|"]
    for layer, it in found["layers"].items():
        lines.append(f"| {layer} | {it['commits']} | {it['rows']:,} | {it['p50_ms']:,.0f} | {it['p99_ms']:,.0f} | {it['max_ms']:,.0f} |")
    return lines + [""]
