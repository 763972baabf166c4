"""Prometheus: its configuration, its process, its HTTP API."""

import json
import pathlib
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from .stage import edited, free_port, wait_for

DECLARED = "5s"


def configuration(declared, home, targets, scrape):
    """The declared configuration with these targets and this interval between scrapes. Returns its path."""
    shutil.copytree(declared, home)
    path = pathlib.Path(home) / "prometheus.yml"
    listed = ", ".join(targets)
    edited(path, (f"scrape_interval: {DECLARED}", f"scrape_interval: {scrape}"), ("[medallion:9464]", f"[{listed}]"))
    return path


def get(url, timeout=10):
    """The body of an address."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


class Prometheus:
    """A server on a free port of 127.0.0.1, and questions to it."""

    def __init__(self, stage, program, config):
        self.url = f"http://127.0.0.1:{free_port()}"
        flags = [f"--config.file={config}", f"--storage.tsdb.path={config.parent}/tsdb", f"--web.listen-address={self.url[7:]}"]
        stage.start(f"prometheus {config.parent.name}", [str(program), *flags])
        wait_for("Prometheus to be ready", self.ready, seconds=30)
        self.began = time.time()

    def ready(self):
        try:
            return "Ready" in get(f"{self.url}/-/ready", timeout=1)
        except OSError:
            return False

    def ask(self, path, **parameters):
        """The data of an answer of its API. A refused query is told with its error."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            return json.loads(get(url))["data"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"Prometheus refuses {parameters}: {json.loads(error.read())['error']}") from error

    def query(self, expr):
        """The newest value of each series: labels and one value."""
        return [(series["metric"], [series["value"][1]]) for series in self.ask("query", query=expr)["result"]]

    def over(self, expr, seconds, step):
        """The values of each series over the last seconds: labels and values."""
        now = time.time()
        answer = self.ask("query_range", query=expr, start=now - seconds, end=now, step=step)
        return [(series["metric"], [value for _, value in series["values"]]) for series in answer["result"]]

    def values(self, metric, label):
        """The values that a label of a metric has, as Grafana's variables ask for them."""
        return self.ask(f"label/{label}/values", **{"match[]": metric})

    def rules(self):
        """The alerts that it has loaded."""
        return [rule for group in self.ask("rules", type="alert")["groups"] for rule in group["rules"]]

    def alerts(self, name, state):
        """The alerts of a name that are in a state."""
        of = self.ask("alerts")["alerts"]
        return [alert for alert in of if alert["labels"]["alertname"] == name and alert["state"] == state]


def scraped(promtool, text):
    """What `promtool check metrics` finds fault with; empty where nothing."""
    done = subprocess.run([str(promtool), "check", "metrics"], input=text, capture_output=True, text=True)
    return [] if done.returncode == 0 else (done.stderr + done.stdout).splitlines()
