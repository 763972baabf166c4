"""The engines: which commands a round of each runs, and where its tables are afterwards."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from . import tables
from .cluster import PROJECT
from .measure import fresh

BENCH = PROJECT / "bench"
CAMPAIGNS = PROJECT / "data" / "campaigns.csv"
METRICS = "127.0.0.1:27464"
LADDER = ["consume", "decode", "bronze", "silver"]


@dataclasses.dataclass
class Bed:
    """What every engine is given."""

    work: pathlib.Path
    brokers: str
    topic: str
    events: int
    # How long bronze may wait before it commits; none: as declared.
    max_delay: str | None = None


class Engine:
    """One engine on one topic. `legs` are (name, command); a leg is measured by itself, in this order."""

    def __init__(self, bed):
        self.bed = bed
        self.out = bed.work / type(self).__name__.lower()

    def prepare(self):
        """Before a round: nothing of an earlier one is left."""
        fresh(self.out)

    environment = {}


class Medallion(Engine):
    """The program as shipped: durability `power`, checkpoints, metrics; the view_log pipeline as declared."""

    def __init__(self, bed):
        super().__init__(bed)
        self.environment = {"KAFKA_BROKERS": bed.brokers}
        self.lake = self.out / "lake"

    def prepare(self):
        super().prepare()
        project = self.out / "project"
        for part in ("layers", "schemas", "data"):
            shutil.copytree(PROJECT / part, project / part)
        shutil.copy(PROJECT / "medallion.toml", project)
        bronze = project / "layers" / "view_log" / "bronze.toml"
        declared = bronze.read_text()
        settings = {"topic": self.bed.topic} | ({"max_delay": self.bed.max_delay} if self.bed.max_delay else {})
        for name, value in settings.items():
            declared, found = re.subn(f"^{name} = .*$", f'{name} = "{value}"', declared, flags=re.MULTILINE)
            if found != 1:
                raise SystemExit(f"{bronze} has {found} lines with {name}")
        bronze.write_text(declared)

    def program(self, *words):
        return [
            os.environ["MEDALLION_BIN"], "--project", self.out / "project", "--lake", self.lake,
            "--checkpoints", self.out / "checkpoints", "--metrics", METRICS, *words,
        ]  # fmt: skip

    def legs(self):
        return [("medallion", self.program("run", "-p", "view_log", "--once", "--close-windows"))]

    def tables(self, _printed):
        return tables.of_medallion(self.lake / "view_log")

    def audit(self):
        """Everything recomputed from bronze by the program itself. Returns what does not hold."""
        command = self.program("audit", "-p", "view_log", "--output", "json", "--log", "warn")
        done = subprocess.run(list(map(str, command)), env={**os.environ, **self.environment}, capture_output=True, text=True)
        return None if done.returncode == 0 else f"audit exits with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


class Layers(Medallion):
    """The same, a process per layer, one after the other: what each layer costs."""

    def legs(self):
        once = ("-p", "view_log", "--once", "--close-windows")
        return [(f"layers:{layer}", self.program("run", layer, *once)) for layer in ("bronze", "silver", "gold")]


class Floor(Engine):
    """The hand-written loop, everything."""

    steps = ["dedupe"]

    def legs(self):
        return [(self.label(step), self.command(step)) for step in self.steps]

    def label(self, _step):
        return "floor"

    def command(self, step):
        return [
            os.environ["BENCH_FLOOR_BIN"], "--brokers", self.bed.brokers, "--topic", self.bed.topic,
            "--campaigns", CAMPAIGNS, "--out", self.out / step, "--until", step,
        ]  # fmt: skip

    def tables(self, printed):
        return tables.of_floor(self.out / "dedupe", json.loads(printed[-1]))


class Ladder(Floor):
    """The hand-written loop, ended after each step. Only the whole of it has tables, and Floor checks those."""

    steps = LADDER

    def label(self, step):
        return f"floor:{step}"

    def tables(self, _printed):
        return None


class Python(Engine):
    """confluent-kafka, msgspec, polars, deltalake."""

    def legs(self):
        words = ["--brokers", self.bed.brokers, "--topic", self.bed.topic, "--campaigns", CAMPAIGNS, "--lake", self.out / "lake"]
        return [("python", [sys.executable, BENCH / "python_stack.py", *words])]

    def tables(self, _printed):
        return tables.of_delta(self.out / "lake")


class Spark(Engine):
    """PySpark Structured Streaming with Delta: three queries, each until it has seen everything."""

    def legs(self):
        return [("spark", self.command(self.bed.topic, "lake")), ("spark:start", self.command("empty", "nothing"))]

    def command(self, topic, lake):
        return [
            PROJECT / "scripts" / "readers.sh", "python", BENCH / "spark.py", "--brokers", self.bed.brokers, "--topic", topic,
            "--campaigns", CAMPAIGNS, "--lake", self.out / lake, "--jars", os.environ["BENCH_SPARK_JARS"],
        ]  # fmt: skip

    def tables(self, _printed):
        found = tables.of_delta(self.out / "lake")
        # An append query holds back the minutes that its watermark has not passed; it has no way to end its input.
        found["open_windows"] = True
        return found


class Replay(Medallion):
    """Gold computed again from silver, and DuckDB doing the same over the same files."""

    def prepare(self):
        source = self.bed.work / "medallion"
        if not (source / "lake").is_dir():
            raise SystemExit("replay needs the engine medallion before it")
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(source, self.out)

    def legs(self):
        replay = self.program("replay", "gold", "-p", "view_log", "--yes")
        duckdb = [sys.executable, BENCH / "duckdb_replay.py", self.lake / "view_log" / "silver", self.out / "duckdb.parquet"]
        return [("replay:duckdb", duckdb), ("replay:medallion", replay)]

    def tables(self, _printed):
        found = tables.of_medallion(self.lake / "view_log")
        if tables.gold_of_parquet(self.out / "duckdb.parquet") != found["gold"]:
            raise tables.Differs("DuckDB's aggregate differs from gold")
        return found


ALL = {kind.__name__.lower(): kind for kind in (Medallion, Layers, Floor, Ladder, Python, Spark, Replay)}
