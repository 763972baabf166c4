"""A real Kafka broker of the benchmark's own, and the seeded topics in it."""

import json
import os
import pathlib
import subprocess

PROJECT = pathlib.Path(__file__).resolve().parents[2]
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PARTITIONS = 4

# What each flaw of the generator becomes in rejects. Left out are the flaws that the peers' parsers let pass (a member
# twice, a number where a string belongs, bytes behind the object): their tables would differ, and with them the work.
REASONS = {
    "malformed": "malformed",
    "missing_field": "schema",
    "integer_overflow": "schema",
    "unknown_campaign": "lookup",
    "end_before_start": "expectation",
    "longer_than_a_day": "expectation",
    "far_ahead": "event_time",
    "tombstone": "malformed",
}
# Nothing is late, so that gold does not depend on how a reader interleaves the partitions.
SHARES = {"duplicates": 0.01, "out-of-order": 0.01, "invalid": 0.005, "late": 0}


class Cluster:
    """One broker, from `with` to its end."""

    def __init__(self, work, port):
        self.directory = work / "kafka"
        self.brokers = f"127.0.0.1:{port}"
        self.environment = {
            **os.environ,
            "MEDALLION_KAFKA_PORT": str(port),
            "MEDALLION_KAFKA_CONTROLLER_PORT": str(port + 1),
            "MEDALLION_KAFKA_DIR": str(self.directory),
            "MEDALLION_KAFKA_HEAP": "1g",
        }

    def _script(self, *words):
        script = PROJECT / "scripts" / "kafka.sh"
        # What it says on stderr is for whoever watches.
        subprocess.run([script, *words], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def __enter__(self):
        # On a busy machine Kafka's own tools take longer than the script waits for them.
        for attempts_left in (2, 1, 0):
            try:
                self._script("start")
                break
            except subprocess.CalledProcessError:
                if not attempts_left:
                    raise
        self.pid = int((self.directory / "pid").read_text())
        return self

    def __exit__(self, *_):
        self._script("stop")

    def cpu_seconds(self):
        """User and system time of the broker since its start."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def create(self, topic, **options):
        """Makes a topic; options with `_` for `.`."""
        config = [word for name, value in options.items() for word in ("--config", f"{name.replace('_', '.')}={value}")]
        self._script(
            "tool", "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.brokers,
            "--create", "--topic", topic, "--partitions", str(PARTITIONS), *config,
        )  # fmt: skip

    def produce(self, topic, events, seed, *words):
        """The command that sends generated events."""
        shares = [word for name, share in SHARES.items() for word in (f"--{name}", str(share))]
        return [
            os.environ["MEDALLION_BIN"], "produce", "--brokers", self.brokers, "--topic", topic, "--count", str(events),
            "--seed", str(seed), "--partitions", str(PARTITIONS), "--flaws", ",".join(REASONS), *shares,
            "--output", "json", "--log", "warn", *words,
        ]  # fmt: skip

    def fill(self, topic, events, seed):
        """Fills a topic. Returns the truth: what is to become of the records, which the generator knows."""
        sent = subprocess.run(self.produce(topic, events, seed), check=True, stdout=subprocess.PIPE, text=True)
        fates = json.loads(sent.stdout)["fates"]
        accepted, duplicate = fates.pop("accepted"), fates.pop("duplicate", 0)
        rejects = {"duplicate": duplicate}
        for flaw, count in fates.items():
            rejects[REASONS[flaw]] = rejects.get(REASONS[flaw], 0) + count
        if accepted + sum(rejects.values()) != events:
            raise SystemExit(f"the generator lost count: {accepted} accepted, {rejects}")
        return {"bronze": events, "silver": accepted, "rejects": rejects}
