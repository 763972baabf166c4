"""What a long-lived gold table costs with a partition per network and minute, and with one per network and date.

    scripts/readers.sh python bench/gold_year --medallion target/release/medallion --out docs/benchmarks/DATE-gold-year

For each layout and span it makes a project in WORK whose gold table looks as if it had run that long, with daily maintenance, and measures what
people and layers do with it. Files with the same bytes are hard links, but their names, their directories and the log are real.
"""

import argparse
import datetime
import json
import pathlib
import platform
import random
import shutil
import statistics
import sys
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import child  # noqa: E402
import report  # noqa: E402
from readers import where_day  # noqa: E402

HERE = pathlib.Path(__file__).parent
SHIPPED = HERE.parents[1]
SPANS = {"none": 0, "day": 1, "month": 30, "year": 365}
# Where the synthetic minutes end and the real events begin.
END = datetime.date(2024, 1, 1)
SECOND = 1_000_000
# Steps of gold whose median is told, each of a minute of events.
STEPS = 60
EVENTS_A_MINUTE = 120
# How long a query may take.
PATIENCE = "3600"


def project(work, layout):
    """A project of its own: the shipped pipeline, reading files, in steps of a minute of events."""
    for file in ["layers/view_log/silver.toml", "layers/view_log/gold.toml", "schemas/view_log.json", "data/campaigns.csv"]:
        (work / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SHIPPED / file, work / file)
    (work / "layers/view_log/bronze.toml").write_text('source = { kind = "files", paths = ["input/*"] }\n')
    silver = work / "layers/view_log/silver.toml"
    silver.write_text(f"commit = {{ max_rows = {EVENTS_A_MINUTE} }}\n{silver.read_text()}")
    if layout == "date":
        gold = work / "layers/view_log/gold.toml"
        text = gold.read_text()
        for old, new in [
            ('start = "minute_timestamp"', 'start = "minute_timestamp", date = "date"'),
            ('["network_id", "minute_timestamp"]', '["network_id", "date"]'),
            ('order = ["campaign_id", "network_id",', 'order = ["campaign_id", "network_id", "date",'),
        ]:
            assert old in text, old
            text = text.replace(old, new)
        gold.write_text(text)


def events(work, name, minutes):
    """Writes view events of so many minutes from END on, after those that are there."""
    folder = work / "input"
    folder.mkdir(exist_ok=True)
    first = sum(len(file.read_text().splitlines()) for file in folder.iterdir())
    begin = datetime.datetime.combine(END, datetime.time())
    dice = random.Random(first)
    with open(folder / name, "w") as file:
        for number in range(first, first + minutes * EVENTS_A_MINUTE):
            at = begin + datetime.timedelta(seconds=number * 60 / EVENTS_A_MINUTE)
            event = {
                "view_id": str(uuid.UUID(int=dice.getrandbits(128))),
                "start_timestamp": f"{(at - datetime.timedelta(seconds=30)).isoformat()}Z",
                "end_timestamp": f"{at.isoformat()}Z",
                "campaign_id": (number % 14 + 1) * 10,
                "banner_id": 1,
            }
            file.write(json.dumps(event) + "\n")


def commits(done):
    """Seconds of gold's steps, as the log says."""
    lines = (json.loads(line)["fields"] for line in done.err.splitlines() if line.startswith("{"))
    return [line["seconds"] for line in lines if line.get("message") == "committed" and line["layer"] == "gold"]


def log_sizes(table):
    """Bytes of the log: entries, and the newest log checkpoint."""
    log = table / "_delta_log"
    entries = sum(path.stat().st_size for path in log.glob("*.json"))
    newest = max(log.glob("*.checkpoint*.parquet"), key=lambda path: path.name)
    return {"entries": entries, "checkpoint": newest.stat().st_size}


class Measured:
    """The measurements of one table, in the order they are taken."""

    def __init__(self, medallion, work, layout, rounds):
        self.medallion, self.work, self.layout, self.rounds = medallion, work, layout, rounds
        self.figures = {}

    def call(self, *arguments):
        environment = {"MEDALLION_METRICS": "off", "MEDALLION_LOG_FORMAT": "json"}
        return child.run(self.medallion, "--project", self.work, *arguments, env=environment)

    def note(self, name, run, rounds=None):
        """The median times and the largest memory of several runs. Returns the last."""
        done = []
        for _ in range(rounds or self.rounds):
            done.append(run())
        wall = statistics.median(one.seconds for one in done)
        cpu, rss = statistics.median(one.cpu for one in done), max(one.rss for one in done)
        self.figures[name] = {"wall_s": wall, "cpu_s": cpu, "rss": rss, "runs": len(done)}
        print(f"    {name}: {wall:.2f} s, CPU {cpu:.2f} s, {rss / child.MIB:.0f} MiB", flush=True)
        return done[-1]

    def read(self, name, run, rounds):
        """As `note`, of something that may give up: that is a finding and no end."""
        try:
            done = self.note(name, run, rounds)
            self.figures[name]["found"] = done.out.strip()
        except SystemExit as failed:
            print(f"    {name}: {failed}", flush=True)

    def query(self, name, where, rounds=None):
        sql = f"select count(*) as rows, sum(total_count) as views from view_log.views_per_minute where {where}"
        self.read(name, lambda: self.call("query", "--timeout", PATIENCE, "--output", "json", sql), rounds)

    def reader(self, which, what, day):
        table = self.work / "data/lake/view_log/gold/views_per_minute"
        command = (sys.executable, HERE / "readers.py", which, table, self.layout, what, day)
        self.read(f"{which} {what}", lambda: child.run(*command), 1)


def measure(medallion, work, layout, span, rounds, file_days):
    """All figures of one layout and span."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    project(work, layout)
    events(work, "a.ndjson", 10)
    it = Measured(medallion, work, layout, rounds)
    it.call("run", "-p", "view_log", "--once")
    table = work / "data/lake/view_log/gold/views_per_minute"
    count = SPANS[span]
    made = child.run(sys.executable, HERE / "synthetic.py", table, layout, count, min(count, file_days))
    it.figures["made"] = json.loads(made.out)
    print(f"    made {made.out.strip()} in {made.seconds:.0f} s", flush=True)
    it.note("first maintain", lambda: it.call("maintain", "-p", "view_log"), 1)
    it.note("maintain", lambda: it.call("maintain", "-p", "view_log"), 1)
    it.figures["log"] = log_sizes(table)
    it.note("open", lambda: it.call("run", "gold", "-p", "view_log", "--once"))
    it.note("status", lambda: it.call("status", "-p", "view_log"), 1)
    day = END - datetime.timedelta(days=1)
    if count:
        hour = f"minute_timestamp >= '{day}T12:00:00Z' and minute_timestamp < '{day}T13:00:00Z' and network_id = 1"
        date = f" and date = '{day}'" if layout == "date" else ""
        it.query("query of an hour", hour + date)
        it.query("query of a day", where_day(layout, day))
        if file_days >= count:
            it.query("query of all", "true", 1)
        for which in ("deltalake", "duckdb"):
            for what in ("open", "day"):
                it.reader(which, what, day)
    events(work, "b.ndjson", STEPS)
    steps = commits(it.note("run", lambda: it.call("run", "-p", "view_log", "--once"), 1))
    it.figures["commit"] = {"p50_s": statistics.median(steps), "max_s": max(steps), "steps": len(steps)}
    print(f"    commit: {it.figures['commit']}", flush=True)
    return it.figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medallion", required=True, type=pathlib.Path, help="the program; a release build, for figures to be told")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/medallion-gold-year"))
    parser.add_argument("--out", type=pathlib.Path, help="where the report goes, without its extension")
    parser.add_argument("--layouts", default="minute,date")
    parser.add_argument("--spans", default="none,day,month,year")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file-days", type=int, default=365, help="so many of the newest days have their files on disk")
    options = parser.parse_args()
    medallion = options.medallion.resolve()
    all_figures = {}
    for layout in options.layouts.split(","):
        for span in options.spans.split(","):
            print(f"{layout}, {span}", flush=True)
            work = options.work / f"{layout}-{span}"
            figures = measure(medallion, work, layout, span, options.rounds, options.file_days)
            all_figures.setdefault(layout, {})[span] = figures
            shutil.rmtree(work)
            if options.out:
                report.write(options.out, all_figures, vars(options), platform.machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
