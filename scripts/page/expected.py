"""What the page must show of a status: every text in it, in order, worked out anew from the numbers."""

import datetime
import decimal

LAYERS = ("bronze", "silver", "gold")
FATES = ("accepted", "malformed", "schema", "lookup", "expectation", "event_time", "duplicate", "dropped")
DASH = "–"


def rounded(value, digits):
    """As people round, the decimal digits that a number is written with."""
    return decimal.Decimal(repr(value)).quantize(decimal.Decimal(1).scaleb(-digits), decimal.ROUND_HALF_UP)


def number(value, unit=""):
    return DASH if value is None else f"{rounded(value, 0):,}{unit}"


def moment(text):
    return text.replace("T", " ").removesuffix("Z").split(".")[0] if text else DASH


def percent(part, whole):
    if not part or not whole:
        return "0" if whole else DASH
    share = part / whole
    return "< 0.01%" if share < 0.00005 else f"{rounded(share * 100, 2):,}%"


def size(count):
    power = 1
    while power < 4 and count >= 1024 ** (power + 1):
        power += 1
    return f"{rounded(count / 1024**power, 1)} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def duration(seconds):
    if seconds is None:
        return DASH
    if seconds < 120:
        return f"{rounded(seconds, 1)} s"
    return f"{rounded(seconds / 60, 0)} min" if seconds < 7200 else f"{rounded(seconds / 3600, 1)} h"


def short(value):
    """At most three digits: 1.23K."""
    value = decimal.Context(prec=3, rounding=decimal.ROUND_HALF_UP).create_decimal(repr(value))
    unit = ""
    for unit in ("", "K", "M", "B", "T"):
        if abs(value) < 1000:
            break
        value /= 1000
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + unit


def cell(value):
    """A value of a gold row."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return DASH if value is None else str(value)


def minutes_ago(now, at):
    return (datetime.datetime.fromisoformat(now) - datetime.datetime.fromisoformat(at)).total_seconds() / 60 - 1


def lines(pipeline, now):
    """The points of both charts, (minutes ago, value), by layer."""
    minutes = [(minutes_ago(now, minute["at"]), minute["positions"]) for minute in pipeline["history"]]
    whole = minutes[:-1]
    rates = {
        layer: [
            (ago, (here[layer] - before[layer]) / 60)
            for (_, before), (ago, here) in zip(whole, whole[1:])
            if layer in here and layer in before and ago <= 60
        ]
        for layer in LAYERS
    }
    lags = {
        layer: [(max(0, ago), here["bronze"] - here[layer]) for ago, here in minutes if layer in here and "bronze" in here and ago <= 60]
        for layer in LAYERS[1:]
    }
    return rates, lags


def scale(chart):
    """The value at the top of a chart."""
    return max([1, *(value for points in chart.values() for _, value in points)])


def texts_of_chart(title, unit, chart):
    yield title
    for share in (0, 0.5, 1):
        yield short(share * scale(chart))
    yield from ("-60 min", "-30 min", "now", *chart)
    for layer, points in chart.items():
        yield f"{layer} {short(points[-1][1]) if points else DASH}"
    yield unit


def trouble(why, next_):
    if why:
        yield why
        if next_:
            yield from ("Next: ", next_)


def fare_of(pipeline, kind):
    return next((fare for fare in pipeline.get("fares", ()) if fare["layer"] == kind), None)


def card(name, fare, facts):
    if fare:
        yield fare["state"]
    yield name
    yield from facts
    if fare and fare.get("why"):
        yield from trouble(f"since {moment(fare['since'])} UTC: {fare['why']}", fare["next"])


def layer(pipeline, standing):
    kind, activity = standing["kind"], standing["activity"]
    facts = [
        ("position", number(standing["position"])),
        ("rows waiting", number(standing["lag_rows"])),
        ("newest row" if kind == "bronze" else "oldest waiting", duration(standing["lag_seconds"])),
        ("rows/s", number(activity["rows_per_second"])),
        ("closed up to" if kind == "gold" else "watermark", moment(standing["watermark"])),
        ("files", f"{number(standing['files'])}, {size(standing['bytes'])}"),
        ("log", f"version {number(standing['version'])}, {size(standing['log_bytes'])}"),
        ("CPU per row", number(activity["cpu_ns_per_row"], " ns")),
    ]
    shown = [text for fact in facts if (kind, fact[0]) != ("bronze", "watermark") for text in fact]
    yield from card(standing["layer"], fare_of(pipeline, kind), shown)


def quality(of, rejects):
    yield from ("What became of the records", "fate", "records", "share")
    for fate in FATES:
        yield from (fate, number(of[fate]), percent(of[fate], of["records"]))
    yield "Rules"
    if of["failed_rules"]:
        yield from ("rule", "passed", "failed", "share")
    else:
        yield "none has judged a record"
    for rule, failed in of["failed_rules"]:
        yield from (rule, number(of["judged"] - failed), number(failed), percent(failed, of["judged"]))
    yield "Newest rejects"
    yield from ("reason", "rules", "detail", "record", "value") if rejects else ("none",)
    for row in rejects:
        record = f"{row['partition']} {number(row['offset'])}"
        yield from (row["reason"], ", ".join(row["rules"]), row["detail"], record, DASH if row["value"] is None else row["value"])


def article(pipeline, now):
    """The texts of one pipeline. A text that is empty is none."""
    yield pipeline["pipeline"]
    yield from trouble(pipeline["trouble"], pipeline["next"])
    for standing in pipeline["layers"]:
        yield from layer(pipeline, standing)
    if not pipeline["layers"]:
        for kind in LAYERS:
            yield from card(kind, fare_of(pipeline, kind), ())
        return
    rates, lags = lines(pipeline, now)
    yield from texts_of_chart("Throughput", "rows a second", rates)
    yield from texts_of_chart("Lag", "rows behind bronze", lags)
    yield from quality(pipeline["quality"], pipeline["rejects"])
    for table in pipeline["gold"]:
        yield f"Newest rows of {table['table']}"
        yield from table["columns"] if table["rows"] else ("no window has closed yet",)
        for row in table["rows"]:
            yield from (cell(row.get(column)) for column in table["columns"])


def texts(status):
    """All texts of header and pipelines."""
    yield "medallion"
    yield f"{status['version']} · {status['lake']} · {moment(status['now'])} UTC"
    for pipeline in status["pipelines"]:
        yield from (text for text in article(pipeline, status["now"]) if text)


def charts(status):
    """The lines of every chart, in order: per point how many minutes from the left, and its share of the chart's height."""
    for pipeline in status["pipelines"]:
        for chart in lines(pipeline, status["now"]) if pipeline["layers"] else ():
            for points in chart.values():
                yield [(60 - ago, value / scale(chart)) for ago, value in points]
