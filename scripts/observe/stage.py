"""The stage: projects, a producer and medallion's processes. All of it is on 127.0.0.1 and ended by process id."""

import ctypes
import datetime
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

LAYERS = ("bronze", "silver", "gold")
# Events a second, and how many of them make a second of event time: a minute's window closes every three seconds.
RATE, EVENT_RATE = 400, 20
FIRST_EVENTS = 4_000
WRONG = ["--invalid", "0.04", "--late", "0.01", "--duplicates", "0.05"]


def free_port():
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, holds, seconds, every=0.3):
    """Waits until something holds. Returns what it gave and the seconds that it took."""
    begun = time.monotonic()
    while not (given := holds()):
        if time.monotonic() - begun > seconds:
            raise SystemExit(f"waited {seconds} s in vain for {what}")
        time.sleep(every)
    return given, time.monotonic() - begun


def edited(path, *changes):
    """Replaces texts in a file; each must be there."""
    text = path.read_text()
    for old, new in changes:
        if old not in text:
            raise SystemExit(f"{path.name} has no `{old}` to change")
        text = text.replace(old, new)
    path.write_text(text)


class Stage:
    """What runs, by name, in a directory of its own."""

    def __init__(self, source, work, binary, brokers):
        self.source, self.work, self.binary = pathlib.Path(source), pathlib.Path(work), binary
        self.topic = f"observe_{os.getpid()}"
        self.brokers = brokers
        self.running, self.ports = {}, {}
        self.log = open(self.work / "medallion.log", "ab")

    def project(self, name):
        """The pipeline view_log under another name, reading our topic in small commits."""
        home = self.work / name
        shutil.copytree(self.source / "layers" / "view_log", home / "layers" / name)
        shutil.copytree(self.source / "schemas", home / "schemas")
        (home / "data").mkdir()
        shutil.copy(self.source / "data" / "campaigns.csv", home / "data")
        shutil.copy(self.source / "medallion.toml", home)
        edited(
            home / "layers" / name / "bronze.toml",
            ('topic = "view_log"', f'topic = "{self.topic}"'),
            ('max_delay = "10s"', 'max_delay = "250ms"'),
        )

    def command(self, name, *words, metrics="off"):
        home = self.work / name
        return [self.binary, "--project", str(home), "--lake", str(home / "lake"), "--metrics", metrics, *words]

    def start(self, name, words):
        """Starts a process; what it says goes into the log."""
        environment = {**os.environ, "KAFKA_BROKERS": self.brokers, "TZ": "UTC"}
        self.running[name] = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=self.log, env=environment)

    def run(self, name, layer=None):
        """Starts a run of all layers or of one. It keeps its port when it is started again."""
        process = f"{name} {layer or 'all'}"
        port = self.ports.setdefault(process, free_port())
        words = [layer] if layer else []
        self.start(process, self.command(name, "run", *words, metrics=f"127.0.0.1:{port}"))

    def targets(self):
        return [f"127.0.0.1:{port}" for port in self.ports.values()]

    def end(self, name, how=signal.SIGTERM):
        """Ends a process and waits for it. Returns its exit code."""
        process = self.running.pop(name)
        process.send_signal(how)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise SystemExit(f"{name} did not end within 30 s of {how.name}") from None

    def end_all(self):
        for name in list(self.running):
            process = self.running.pop(name)
            process.kill()
            process.wait()

    def all_run(self):
        """Nobody has ended by itself."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise SystemExit(f"{name} has ended with {process.returncode}")

    def produce(self, name):
        """Fills the topic a little, then keeps on: with invalid records, late ones and duplicates."""
        start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=3)
        common = ["--topic", self.topic, "--brokers", self.brokers, "--event-rate", str(EVENT_RATE), *WRONG]
        common += ["--start", start.strftime("%Y-%m-%dT%H:%M:%SZ")]
        words = self.command(name, "produce", *common, "--count", str(FIRST_EVENTS))
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=self.log)
        more = ["--first", str(FIRST_EVENTS), "--count", "1000000", "--rate", str(RATE)]
        self.start("producer", self.command(name, "produce", *common, *more))

    def query(self, name, sql):
        """The rows of a query, which prints one a line."""
        words = self.command(name, "query", sql) + ["--output", "json"]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=self.log)
        return [json.loads(line) for line in done.stdout.splitlines()]


class Outage:
    """Takes a lake away while it lasts: a file lies in its place. Both change places in one call, because a lake that is
    not there at all, however briefly, is a damaged one and ends the run."""

    AT_FDCWD, EXCHANGE = -100, 2

    def __init__(self, lake):
        self.lake, self.away = str(lake), f"{lake}.away"
        pathlib.Path(self.away).write_text("no directory")

    def __enter__(self):
        self.swap()

    def __exit__(self, *_):
        self.swap()

    def swap(self):
        done = ctypes.CDLL(None, use_errno=True).renameat2(
            self.AT_FDCWD, self.lake.encode(), self.AT_FDCWD, self.away.encode(), self.EXCHANGE
        )
        if done != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), self.lake)
