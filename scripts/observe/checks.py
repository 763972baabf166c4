"""The checks. Each returns what is wrong, a line each; an empty list is good news."""

import math
import re

from . import boards

# A comparison with a number: without it an alert's expression gives what it compares.
COMPARISON = re.compile(r"\s*(?:==|!=|>=|<=|>|<)\s*(?:bool\s+)?-?[0-9][0-9.e]*(?![\w\[])")


def numbers(where, series, ratio=False):
    """Values that are no numbers, or no ratios where they are to be."""
    for labels, values in series:
        for value in map(float, values):
            if math.isnan(value) or math.isinf(value):
                yield f"{where}: {value} of {labels}"
                break
            if ratio and not -1e-9 <= value <= 1 + 1e-9:
                yield f"{where}: {value} of {labels} is no ratio"
                break


def legend(ask, series):
    """Labels that the legend names and the series have not."""
    wanted = re.findall(r"{{(\w+)}}", ask.legend)
    missing = sorted({label for label in wanted for labels, _ in series if label not in labels})
    return [f"{ask}: the legend names {label}, which its series have not" for label in missing]


def panel(prometheus, ask, idle):
    series = prometheus.query(ask.expr) if ask.instant else prometheus.over(ask.expr, 10, 5)
    if not series and not idle:
        return [f"{ask}: empty"]
    return [*numbers(ask, series, ratio=ask.unit == "percentunit"), *legend(ask, series)]


def panels(prometheus, directory, idle=False):
    """Every expression of every panel. While records flow none may be empty."""
    return [what for ask in boards.asks(boards.dashboards(directory)) for what in panel(prometheus, ask, idle)]


def choices(prometheus, directory, expected):
    """The values that Grafana offers for the variables."""
    for board in boards.dashboards(directory):
        for name, metric, label in boards.variables(board):
            if (found := sorted(prometheus.values(metric, label))) != sorted(expected[name]):
                yield f"{board['title']}: variable {name} offers {found}, not {sorted(expected[name])}"


def alerts(prometheus):
    """Every alert's expression, without its comparison: it must have something to compare."""
    for rule in prometheus.rules():
        where = f"alert {rule['name']}"
        if rule["health"] != "ok":
            yield f"{where}: {rule['health']}: {rule.get('lastError')}"
        series = prometheus.query(COMPARISON.sub("", rule["query"]))
        if not series:
            yield f"{where}: nothing to compare in {rule['query']}"
        yield from numbers(where, series, ratio="humanizePercentage" in rule["annotations"]["summary"])


def runbook(prometheus, page):
    """Every alert's section of the runbook, and every section's alert."""
    rules, anchors = prometheus.rules(), boards.anchors(page)
    for rule in rules:
        url = rule["annotations"].get("runbook_url", "")
        if url != f"docs/runbook.md#{rule['name'].lower()}" or rule["name"].lower() not in anchors:
            yield f"alert {rule['name']}: no section {url or 'at all'} in the runbook"
    for anchor in sorted(anchors - {rule["name"].lower() for rule in rules} - {"runbook"}):
        yield f"the runbook's section {anchor} is no alert's"


def names(prometheus, directory, scrape, page):
    """Metrics that are asked for and not exported, exported and not asked for, or not explained."""
    there = boards.exported(scrape)
    asked = [(str(ask), ask.expr) for ask in boards.asks(boards.dashboards(directory))]
    asked += [(f"alert {rule['name']}", rule["query"]) for rule in prometheus.rules()]
    used = set()
    for where, expr in asked:
        used |= boards.names(expr)
        yield from (f"{where}: nobody exports {name}" for name in sorted(boards.names(expr) - there))
    ours = {name for name in there if name.startswith("medallion_")}
    for name in sorted(ours - used - boards.FOR_OTHERS):
        yield f"{name} is exported, and no panel or alert asks for it"
    explained = boards.documented(page)
    yield from (f"{name} is exported and not in docs/metrics.md" for name in sorted(ours - explained))
    yield from (f"{name} is in docs/metrics.md and nobody exports it" for name in sorted(explained - ours))
