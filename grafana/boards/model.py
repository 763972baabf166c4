"""Grafana's classic model, as little of it as these boards need.

In expressions `$P` stands for the chosen pipelines and `$L` for the chosen pipelines and layers.
"""

WIDTH = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SHORT = {"$P": 'pipeline=~"$pipeline"', "$L": 'pipeline=~"$pipeline", layer=~"$layer"'}
# A step is a colour from a value on; the first has none and holds below all others.
GREEN, ORANGE, RED = "green", "orange", "red"


class Query:
    """An expression and how its series are called; `as_` is Grafana's format of the answer."""

    def __init__(self, expr, legend="", as_="time_series", instant=False):
        for short, long in SHORT.items():
            expr = expr.replace(short, long)
        self.expr, self.legend, self.as_, self.instant = " ".join(expr.split()), legend, as_, instant

    def model(self, ref):
        when = {"instant": True, "range": False} if self.instant else {"instant": False, "range": True}
        return {
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": self.as_,
            **when,
            "legendFormat": self.legend,
            "refId": ref,
        }


class Panel:
    """One panel: what it is called, the unit of its values, what it says, what to do when it is bad, what it asks."""

    def __init__(self, kind, title, unit, about, queries, width, height, options, defaults=None):
        self.kind, self.title, self.about, self.queries = kind, title, about, queries
        self.width, self.height, self.options = width, height, options
        self.defaults = {"unit": unit, **(defaults or {})}

    def model(self, number, x, y):
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": " ".join(self.about.split()),
            "datasource": SOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": self.defaults, "overrides": []},
            "options": self.options,
            "targets": [query.model(chr(ord("A") + place)) for place, query in enumerate(self.queries)],
        }


def thresholds(*steps):
    """`thresholds(GREEN, (60, ORANGE))`: green below 60, orange from there on."""
    first, rest = steps[0], steps[1:]
    listed = [{"color": first, "value": None}, *({"color": colour, "value": value} for value, colour in rest)]
    return {"mode": "absolute", "steps": listed}


def value_mappings(texts):
    """`{0: ("down", RED)}`: that value is shown as that text in that colour."""
    shown = {str(value): {"text": text, "color": colour, "index": place} for place, (value, (text, colour)) in enumerate(texts.items())}
    return [{"type": "value", "options": shown}]


def stat(title, unit, about, *queries, width=6, height=5, steps=None, texts=None):
    """The newest value, large."""
    defaults = {"color": {"mode": "thresholds"}, "thresholds": steps or thresholds(GREEN)}
    if texts:
        defaults["mappings"] = value_mappings(texts)
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    return Panel("stat", title, unit, about, queries, width, height, options, defaults)


def bars(title, unit, about, *queries, width=12, height=8, steps=None):
    """The newest value of each series as a bar."""
    defaults = {"color": {"mode": "thresholds"}, "thresholds": steps or thresholds(GREEN), "min": 0}
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "valueMode": "color",
    }
    return Panel("bargauge", title, unit, about, queries, width, height, options, defaults)


def graph(title, unit, about, *queries, width=12, height=8, stack=False, steps=None, least=0):
    """Values over time; `steps` are drawn as lines."""
    custom = {
        "drawStyle": "line",
        "fillOpacity": 30 if stack else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stack else "none"},
        "thresholdsStyle": {"mode": "line" if steps else "off"},
    }
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom}
    if least is not None:
        defaults["min"] = least
    if steps:
        defaults["thresholds"] = steps
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, unit, about, queries, width, height, options, defaults)


def heatmap(title, unit, about, query, width=12, height=8):
    """A histogram's buckets over time."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5, "fill": "dark-blue", "reverse": False},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"show": True, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    return Panel("heatmap", title, unit, about, [query], width, height, options)


def row(title, *panels):
    """Panels under a heading."""
    return title, panels


def placed(rows):
    """All panels where they belong: rows below each other, in a row from left to right, wrapped at the width."""
    models, y = [], 0
    for title, panels in rows:
        place = {"h": 1, "w": WIDTH, "x": 0, "y": y}
        models.append({"id": len(models) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []})
        x, y, line = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > WIDTH:
                x, y, line = 0, y + line, 0
            models.append(panel.model(len(models) + 1, x, y))
            x, line = x + panel.width, max(line, panel.height)
        y += line
    return models


def variable(name, label, metric):
    """A choice among the values that a label of a metric has."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": f"label_values({metric}, {name})",
        "query": {"query": f"label_values({metric}, {name})", "refId": "values"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def variables(with_layer):
    """Data source and pipeline; layer where the board's metrics have one."""
    # Without a value it would be the first by name, not the default one.
    default = {"selected": True, "text": "default", "value": "default"}
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    chosen = [{**source, "current": default}, variable("pipeline", "Pipeline", "medallion_layer_up")]
    if with_layer:
        chosen.append(variable("layer", "Layer", 'medallion_layer_up{pipeline=~"$pipeline"}'))
    return {"list": chosen}


def board(name, title, about, rows, with_layer=False):
    """The whole dashboard."""
    links = {
        "type": "dashboards",
        "title": "medallion",
        "tags": ["medallion"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
    return {
        "uid": f"medallion-{name}",
        "title": title,
        "description": " ".join(about.split()),
        "tags": ["medallion"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [links],
        "templating": variables(with_layer),
        "panels": placed(rows),
    }
