"""A project directory with the shipped view_log pipeline over a file of events, and the binary that runs it."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

from deltalake import DeltaTable

PIPELINE = "view_log"
GOLD = "views_per_minute"
TABLES = {
    "bronze": "bronze",
    "silver": "silver",
    "rejects": "rejects",
    "gold": f"gold/{GOLD}",
    "late": f"late/{GOLD}",
}
BRONZE = 'source = { kind = "files", paths = ["input/*"] }\ncommit = { max_rows = 60, max_delay = "150ms" }\n'
# Waits are for slow machines; what takes this long has failed.
PATIENCE = 60


def event(index):
    """Every seventh of an unknown campaign, every ninth sent before, every eleventh ten minutes late."""
    number = index - 5 if index % 9 == 8 else index
    end = datetime(2024, 1, 1) + timedelta(seconds=4 * number)
    if number % 11 == 10:
        end -= timedelta(minutes=10)
    value = {
        "view_id": f"view-{number}",
        "start_timestamp": (end - timedelta(seconds=number % 30)).isoformat() + "Z",
        "end_timestamp": end.isoformat() + "Z",
        "banner_id": 1 + number % 5,
        "campaign_id": 999_999 if number % 7 == 6 else 10 * (1 + number % 4),
    }
    return json.dumps(value) + "\n"


class Project:
    def __init__(self, path, binary):
        self.path = Path(path)
        self.binary = binary

    @classmethod
    def new(cls, path, binary, shipped):
        project = cls(path, binary)
        for file in (f"layers/{PIPELINE}/silver.toml", f"layers/{PIPELINE}/gold.toml", f"schemas/{PIPELINE}.json", "data/campaigns.csv"):
            (project.path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(shipped) / file, project.path / file)
        layers = project.path / "layers" / PIPELINE
        (layers / "bronze.toml").write_text(BRONZE)
        silver = (layers / "silver.toml").read_text()
        (layers / "silver.toml").write_text("commit = { max_rows = 80 }\n" + silver)
        gold = (layers / "gold.toml").read_text()
        # One file a commit: the same code, fewer files.
        (layers / "gold.toml").write_text(re.sub(r"(?m)^partition_by = .*$", "partition_by = []", gold))
        return project

    def copy(self, path):
        shutil.copytree(self.path, path)
        return Project(path, self.binary)

    def add_events(self, first, last):
        (self.path / "input").mkdir(exist_ok=True)
        with open(self.path / "input/a.ndjson", "a") as file:
            file.write("".join(map(event, range(first, last))))

    def table(self, name):
        return str(self.path / "data/lake" / PIPELINE / TABLES[name])

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDALLION_")}
        return kept | {"MEDALLION_METRICS": "off", "NO_COLOR": "1", "RUST_BACKTRACE": "0"}

    def call(self, *args):
        command = [self.binary, *args, "-p", PIPELINE]
        return subprocess.run(
            command, cwd=self.path, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE
        )

    def finish(self):
        return self.call("run", "--once", "--close-windows")

    def start(self):
        return Running(self)

    def rows(self):
        """A digest of each table's rows, in which seqs do not count: every start leaves a tick and so moves them."""
        tables = {name: DeltaTable(self.table(name)).to_pyarrow_table().to_pylist() for name in TABLES}
        offsets = {row["seq"]: row["offset"] for row in tables["bronze"]}
        keep = []
        for name, rows in tables.items():
            for row in rows:
                for unsaid in ("ingested_at", "ingest_date"):
                    row.pop(unsaid, None)
                seq = row.pop("seq", row.pop("_seq", None))
                if name == "bronze" and row["kind"] != "record":
                    continue
                if row.get("duplicate_of") is not None:
                    row["duplicate_of"], row["detail"] = offsets[row["duplicate_of"]], None
                if seq is not None:
                    row["at"] = offsets[seq]
            told = sorted(repr(row) for row in rows if row.get("kind") != "tick")
            keep.append((name, len(told), hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]))
        return keep


class Running:
    """A live run; what it says on stderr is in a file."""

    def __init__(self, project):
        self.log = project.path / "stderr"
        self.child = subprocess.Popen(
            [project.binary, "run", "-p", PIPELINE],
            cwd=project.path,
            env=project.environment(),
            stdout=subprocess.DEVNULL,
            stderr=open(self.log, "w"),
        )

    def said(self):
        return self.log.read_text()

    def positions(self, layer):
        return [int(at) for at in re.findall(rf'layer="{layer}" .*position=(\d+)', self.said())]

    def wait(self, what, until):
        begun = time.monotonic()
        while not until():
            if self.child.poll() is not None:
                return False
            if time.monotonic() - begun > PATIENCE:
                self.child.kill()
                raise AssertionError(f"{what} takes too long:\n{self.said()}")
            time.sleep(0.02)
        return True

    def caught_up(self, at_least):
        """Whether gold has all that bronze has, and that is this much."""
        bronze, gold = self.positions("bronze"), self.positions("gold")
        return bool(bronze and gold) and gold[-1] == bronze[-1] >= at_least

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout=PATIENCE)
