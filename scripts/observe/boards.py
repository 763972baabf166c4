"""What the committed files say: dashboards, the names in expressions, the pages for people."""

import json
import pathlib
import re

# What is asked in place of Grafana's variables; a label that a metric has not matches no `.+`.
CHOSEN = {"$pipeline": ".+", "$layer": ".+", "$__rate_interval": "10s"}
NAME = re.compile(r"\b(?:medallion|process)_[a-z_]+\b")
PARTS = re.compile(r"_(?:bucket|sum|count)$")
# Exported for other programs and asked for by no panel and no alert.
FOR_OTHERS = set()
WORDS_OF_A_DESCRIPTION = 8


class Ask:
    """One expression of one panel."""

    def __init__(self, board, panel, target):
        self.board, self.title = board["title"], panel["title"]
        self.unit = panel["fieldConfig"]["defaults"].get("unit")
        self.expr, self.legend, self.instant = target["expr"], target["legendFormat"], target.get("instant", False)
        for variable, value in CHOSEN.items():
            self.expr = self.expr.replace(variable, value)

    def __str__(self):
        return f"{self.board} / {self.title}: {self.expr}"


def dashboards(directory):
    """All boards of a directory."""
    return [json.loads(path.read_text()) for path in sorted(pathlib.Path(directory).glob("*.json"))]


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def asks(boards):
    """Every expression of every panel."""
    return [Ask(board, panel, target) for board in boards for panel in panels(board) for target in panel["targets"]]


def variables(board):
    """The metric and the label of each variable that is a choice of label values."""
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
            yield variable["name"], metric.replace("$pipeline", CHOSEN["$pipeline"]), label


def names(expr):
    """The metrics of an expression. Of a histogram, only its name."""
    labels_gone = re.sub(r'"[^"]*"', "", expr)
    return {PARTS.sub("", name) for name in NAME.findall(labels_gone)}


def exported(text):
    """The metrics that a scrape announces."""
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def manners(boards):
    """What a dashboard must have whatever it shows; empty where nothing is wrong."""
    wrong = [f"{board['title']}: {what}" for board in boards for what in board_manners(board)]
    uids = [board["uid"] for board in boards]
    return wrong + [f"two boards have the uid {uid}" for uid in sorted({uid for uid in uids if uids.count(uid) > 1})]


def board_manners(board):
    wanted = {"schemaVersion": 39, "refresh": "30s", "tags": ["medallion"], "time": {"from": "now-1h", "to": "now"}}
    wrong = [f"{key} is {board.get(key)}" for key, value in wanted.items() if board.get(key) != value]
    if not any(link["keepTime"] and link["includeVars"] for link in board["links"]):
        wrong.append("it has no links that keep time and variables")
    numbers = [panel["id"] for panel in board["panels"]]
    if len(set(numbers)) != len(numbers):
        wrong.append("two panels have one id")
    return wrong + [f"{panel.get('title') or 'a panel'}: {what}" for panel in panels(board) for what in panel_manners(panel)]


def panel_manners(panel):
    if not panel.get("title") or not panel["fieldConfig"]["defaults"].get("unit"):
        yield "no title or no unit"
    if len(panel.get("description", "").split()) < WORDS_OF_A_DESCRIPTION:
        yield "no description"
    if not panel["targets"]:
        yield "it asks nothing"
    for target in panel["targets"]:
        if target["datasource"]["uid"] != "${datasource}":
            yield "its data source cannot be chosen"
        if re.search(r"\b(?:rate|increase)\([^[]*\[(?!\$__rate_interval)", target["expr"]):
            yield f"a rate over a fixed time: {target['expr']}"


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", pathlib.Path(page).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def documented(page):
    """The metrics that a page has a row for."""
    return set(re.findall(r"^\| `(medallion_\w+)` \|", pathlib.Path(page).read_text(), re.MULTILINE))
