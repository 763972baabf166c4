"""The order of events: a pipeline in one process and one in three, Prometheus beside them, every question asked; then a lake goes
away and a process is killed; at last the records end. The first thing that does not hold ends it with exit code 1.

    python3 -m observe --project DIR --work DIR --binary FILE --tools DIR --brokers HOST:PORT
"""

import argparse
import pathlib
import shutil
import signal
import sys
import time

from . import boards, checks
from .server import DECLARED, Prometheus, configuration, get, scraped
from .stage import LAYERS, Outage, Stage, wait_for

TOGETHER, APART = "together", "apart"
# The promise: what stops is told within this many seconds.
TOLD_WITHIN = 30
# The longest pause between two openings of a layer, and some work.
RECOVERED_WITHIN = 60
# What an idle layer may look stale: a scrape, a look upstream, a statistic of the Kafka client.
STALE_AT_MOST = 10
# Longer than the ranges of the panels' rates, and than the start-up that came before.
SCRAPED_FOR = 30
STALLED, DOWN = "LayerStalled", "MedallionDown"


def arguments():
    parser = argparse.ArgumentParser(prog="observe", description=__doc__.split("\n\n", maxsplit=1)[0])
    for name in ("project", "work", "binary", "tools", "brokers"):
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


def say(what):
    print(f"observe: {what}", flush=True)


def hold(what, wrong):
    """Says that a check holds, or ends with what is wrong."""
    if wrong := list(wrong):
        raise SystemExit("\n".join([f"observe: FAILED: {what}", *(f"  {line}" for line in wrong)]))
    say(f"{what}: ok")


class Play:
    """What runs, and what is asked of it."""

    def __init__(self, options):
        self.options, self.project = options, pathlib.Path(options.project)
        self.boards = self.project / "grafana" / "dashboards"
        self.stage = Stage(options.project, options.work, options.binary, options.brokers)
        self.promtool = pathlib.Path(options.tools) / "promtool"
        self.prometheus, self.declared = None, None

    def begin(self):
        for name in (TOGETHER, APART):
            self.stage.project(name)
        self.stage.produce(TOGETHER)
        self.stage.run(TOGETHER)
        for layer in LAYERS:
            self.stage.run(APART, layer)
        # One as declared tells how soon an alert fires; a test that takes a minute asks one with more samples all else.
        self.prometheus, self.declared = self.server("often", "1s"), self.server("declared", DECLARED)

    def server(self, name, scrape):
        home = self.stage.work / name
        config = configuration(self.project / "prometheus", home, self.stage.targets(), scrape)
        return Prometheus(self.stage, pathlib.Path(self.options.tools) / "prometheus", config)

    def scrape(self):
        """What all processes export now."""
        return "".join(get(f"http://{target}/metrics") for target in self.stage.targets())

    def value(self, expr):
        """The only value of an expression; none where there is none."""
        series = self.prometheus.query(expr)
        return float(series[0][1][0]) if series else None

    def warm(self):
        """Both pipelines have closed windows and late rows, and there are samples enough."""
        for name in (TOGETHER, APART):
            of = f'{{pipeline="{name}"}}'
            late = f"sum(medallion_late_rows_total{of}) > 0 and sum(medallion_closed_timestamp_seconds{of}) > 0"
            self.patient(f"late rows and closed windows of {name}", lambda expr=late: self.value(expr), 90)
        time.sleep(max(0.0, self.prometheus.began + SCRAPED_FOR - time.time()))

    def patient(self, what, holds, seconds):
        """As `wait_for`, but a process that has ended is told at once."""

        def alive():
            self.stage.all_run()
            return holds()

        return wait_for(what, alive, seconds)

    def questions(self):
        """While records flow."""
        docs = self.project / "docs"
        hold("the dashboards' manners", boards.manners(boards.dashboards(self.boards)))
        for target in self.stage.targets():
            hold(f"promtool check metrics of {target}", scraped(self.promtool, get(f"http://{target}/metrics")))
        hold("the names of all metrics", checks.names(self.prometheus, self.boards, self.scrape(), docs / "metrics.md"))
        hold("a runbook section per alert", checks.runbook(self.prometheus, docs / "runbook.md"))
        expected = {"pipeline": [TOGETHER, APART], "layer": list(LAYERS)}
        hold("the dashboards' variables", checks.choices(self.prometheus, self.boards, expected))
        asks = boards.asks(boards.dashboards(self.boards))
        hold(f"{len(asks)} expressions of panels", checks.panels(self.prometheus, self.boards))
        hold(f"{len(self.prometheus.rules())} expressions of alerts", checks.alerts(self.prometheus))

    def renamed(self):
        """A metric of one panel gets another name in a copy: both checks that could notice must."""
        copy = pathlib.Path(self.options.work) / "renamed"
        shutil.copytree(self.boards, copy)
        path = copy / "layers.json"
        path.write_text(path.read_text().replace("medallion_head_seq", "medallion_heads_seq"))
        of_names = list(checks.names(self.prometheus, copy, self.scrape(), self.project / "docs" / "metrics.md"))
        of_panels = checks.panels(self.prometheus, copy)
        for found in (of_names, of_panels):
            if not any("medallion_heads_seq" in line for line in found):
                raise SystemExit(f"observe: FAILED: a renamed metric was not noticed: {found}")
        say(f"a renamed metric is noticed: {of_names[0]}")

    def told(self, alert, pipeline, layers):
        """Whether an alert fires for each of these layers; its descriptions where it does."""
        firing = {
            alert["labels"]["layer"]: alert["annotations"]["description"]
            for alert in self.declared.alerts(alert, "firing")
            if alert["labels"].get("pipeline") == pipeline
        }
        return [firing[layer] for layer in layers] if set(layers) <= set(firing) else None

    def quiet(self):
        """No alert about a stop is pending or fires, and every layer works."""
        told = [alert for name in (STALLED, DOWN) for state in ("pending", "firing") for alert in self.declared.alerts(name, state)]
        return not told and self.value("sum(medallion_layer_up)") == len((TOGETHER, APART)) * len(LAYERS)

    def stops(self):
        """One lake goes away, and one process of the other pipeline is killed."""
        if not self.quiet():
            raise SystemExit("observe: FAILED: alerts before anything has stopped")
        before = self.value(f'medallion_records_total{{pipeline="{APART}"}}')
        with Outage(self.stage.work / TOGETHER / "lake"):
            begun = time.monotonic()
            self.stage.end(f"{APART} silver", signal.SIGKILL)
            for alert, pipeline, layers in ((STALLED, TOGETHER, LAYERS), (DOWN, APART, ["silver"])):
                left = TOLD_WITHIN - (time.monotonic() - begun)
                words, _ = self.patient(f"{alert} of {pipeline}", lambda a=(alert, pipeline, layers): self.told(*a), left)
                self.check_words(words, layers)
                say(f"{alert} after {time.monotonic() - begun:.0f} s: {words[-1]}")
        self.stage.run(APART, "silver")
        _, seconds = self.patient("the end of all alerts", self.quiet, RECOVERED_WITHIN)
        say(f"no alert {seconds:.0f} s after the lake was back and the process started")
        if (after := self.value(f'medallion_records_total{{pipeline="{APART}"}}')) < before:
            raise SystemExit(f"observe: FAILED: {after} records after the restart, {before} before")

    def check_words(self, words, layers):
        """An alert says which layer and since when."""
        year = time.strftime("%Y-")
        hold("which layer, since when", [text for text, layer in zip(words, layers) if layer not in text or year not in text])

    def idle(self):
        """The records end: no panel may divide by nothing, and the counters are what the tables hold."""
        self.stage.end("producer")
        lag = 'sum(medallion_kafka_lag_records) + sum(medallion_head_seq - medallion_position_seq)'
        self.patient("the layers to catch up", lambda: self.value(lag) == 0, 60)
        time.sleep(15)
        if (stale := self.value("max(time() - medallion_caught_up_timestamp_seconds)")) > STALE_AT_MOST:
            raise SystemExit(f"observe: FAILED: a layer without anything to do looks {stale:.0f} s stale")
        hold("no panel without records shows NaN", checks.panels(self.prometheus, self.boards, idle=True))
        for name in (TOGETHER, APART):
            hold(f"the counters of {name} are its tables' rows", self.counters(name))
        if (sum_ := self.value("sum(abs(medallion_unaccounted_rows))")) != 0:
            raise SystemExit(f"observe: FAILED: {sum_} rows are unaccounted for")

    def counters(self, name):
        """Counters that differ from what the tables hold."""
        counts = f"select reason, count(*) as n from {name}.rejects group by reason"
        wanted = {row["reason"]: row["n"] for row in self.stage.query(name, counts)}
        wanted["late"] = self.stage.query(name, f"select count(*) as n from {name}.late_views_per_minute")[0]["n"]
        silver = self.stage.query(name, f"select count(*) as n from {name}.silver")[0]["n"]
        wanted["records"] = silver + sum(count for reason, count in wanted.items() if reason != "late")
        of = f'{{pipeline="{name}"}}'
        shown = {labels["reason"]: float(values[0]) for labels, values in self.prometheus.query(f"medallion_rejected_rows_total{of}")}
        shown["late"] = self.value(f"sum(medallion_late_rows_total{of})")
        shown["records"] = self.value(f"medallion_records_total{of}")
        for what in sorted(set(wanted) | set(shown)):
            if wanted.get(what, 0) != shown.get(what, 0):
                yield f"{what}: {shown.get(what, 0):.0f} shown, {wanted.get(what, 0)} in the table"


def main():
    # So that what was started is ended here, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    play = Play(arguments())
    try:
        for part in (play.begin, play.warm, play.questions, play.renamed, play.stops, play.idle):
            part()
        for name in [name for name in play.stage.running if not name.startswith("prometheus")]:
            if code := play.stage.end(name):
                raise SystemExit(f"observe: FAILED: {name} ended with {code} on SIGTERM")
    finally:
        play.stage.end_all()


if __name__ == "__main__":
    sys.exit(main())
