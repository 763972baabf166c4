"""A pipeline that reads files, with something of everything in them, and the process that runs it."""

import json
import random
import shutil
import subprocess
import time
import urllib.request

from observe.stage import edited, free_port, wait_for

PIPELINE = "views"
CAMPAIGNS = [10, 20, 30, 40, 50, 60]
FIRST, MORE = 6000, 600
# What a stranger may send: none of it may become more than text, nor push the page aside.
HOSTILE = ['<img src="https://nowhere.invalid/x" onerror="document.title=1">', "W" * 400, "‮ab\u0000\u001b[31m", "</script><script>throw 1</script>"]


def events(first, count):
    """Lines of a file: five a second in event time, some of them bad in each way that silver knows, some of them late."""
    dice = random.Random(first)
    stamp = lambda second: f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
    for index in range(first, first + count):
        end = 3600 + index // 5 - (600 if dice.random() < 0.01 else 0)
        view = {
            "view_id": f"view-{index if dice.random() > 0.05 else max(0, index - 50)}",
            "start_timestamp": stamp(end - dice.randrange(1, 90)),
            "end_timestamp": stamp(end),
            "banner_id": dice.randrange(1, 50),
            "campaign_id": dice.choice(CAMPAIGNS),
        }
        flaw = dice.randrange(100)
        if flaw == 0:
            view["campaign_id"] = 987_654
        elif flaw == 1:
            view["start_timestamp"], view["end_timestamp"] = view["end_timestamp"], view["start_timestamp"]
        elif flaw == 2:
            view["banner_id"] = dice.choice(HOSTILE)
        yield json.dumps(view, ensure_ascii=False) if flaw != 3 else dice.choice(HOSTILE)


class Stage:
    """The project and its run."""

    def __init__(self, project, work, binary):
        self.binary, self.home, self.process = binary, work / "project", None
        for part in ("layers/view_log", "schemas"):
            shutil.copytree(project / part, self.home / part.replace("view_log", PIPELINE))
        (self.home / "data").mkdir()
        shutil.copy(project / "data" / "campaigns.csv", self.home / "data")
        (self.home / "layers" / PIPELINE / "bronze.toml").write_text(
            'source = { kind = "files", paths = ["input/*.ndjson"] }\ncommit = { max_rows = 2_000, max_delay = "200ms" }\n'
        )
        (self.home / "input").mkdir()
        self.lake = self.home / "lake"
        self.log = open(work / "medallion.log", "ab")
        self.address = f"127.0.0.1:{free_port()}"

    def feed(self, name, first, count):
        """A file of events, there all at once."""
        unfinished = self.home / name
        unfinished.write_text("".join(f"{line}\n" for line in events(first, count)))
        unfinished.rename(self.home / "input" / f"{name}.ndjson")

    def command(self, *words, metrics="off"):
        return [self.binary, "--project", str(self.home), "--lake", str(self.lake), "--metrics", metrics, *words]

    def run(self):
        words = self.command("run", metrics=self.address)
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)

    def end(self):
        """Ends the run as an operator would. Returns its exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def status(self, code=0):
        """What the command says of the pipeline."""
        done = subprocess.run(self.command("status", "--output", "json"), stdout=subprocess.PIPE, stderr=self.log)
        if done.returncode != code:
            raise SystemExit(f"page: FAILED: status ended with {done.returncode}, not {code}")
        return json.loads(done.stdout)[0]

    def version(self):
        done = subprocess.run([self.binary, "--version"], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.split()[-1]

    def get(self, path):
        """What the run answers, or none."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            if self.process.poll() is not None:
                raise SystemExit(f"page: FAILED: the run has ended with {self.process.returncode}") from None
            return None

    def states(self):
        """What every layer is doing."""
        status = self.get("/status.json")
        return [fare["state"] for fare in json.loads(status)["pipelines"][0].get("fares", ())] if status else []

    def settled(self):
        """The status, once it stands still: read to its end, and as old as anything that the page may still show."""
        return wait_for("the pipeline to stand still", self.still, 60)[0]

    def still(self):
        first = without_ages(self.status())
        abreast = len(first["layers"]) == 3 and all(standing["lag_rows"] in (None, 0) for standing in first["layers"])
        # The tick that says that a file was read to its end comes within two seconds; so long is the page's answer kept, too.
        if abreast:
            time.sleep(3)
        now = self.status()
        return now if abreast and without_ages(now) == first else None


def without_ages(status):
    """A status without what grows by itself."""
    layers = [{**standing, "lag_seconds": None} for standing in status["layers"]]
    return {**status, "layers": layers}
