"""The report: a table of figures in Markdown, and all of them as JSON."""

import json

MIB = 1 << 20
NAMES = {"minute": "network and minute", "date": "network and date"}
ROWS = [
    "open", "maintain", "first maintain", "status", "query of an hour", "query of a day", "query of all",
    "deltalake open", "deltalake day", "duckdb open", "duckdb day",
]  # fmt: skip


def cost(figure):
    return f"{figure['wall_s']:.2f} s ({figure['cpu_s']:.2f}), {figure['rss'] / MIB:,.0f} MiB" if figure else "-"


def table(spans):
    """One layout's figures, a column per span."""
    lines = ["| | " + " | ".join(spans) + " |", "|---" * (len(spans) + 1) + "|"]

    def row(name, cell):
        lines.append(f"| {name} | " + " | ".join(cell(figures) for figures in spans.values()) + " |")

    row("synthetic files", lambda it: f"{it['made']['files']:,}")
    row("log entries, bytes", lambda it: f"{it['log']['entries']:,}")
    row("log checkpoint, bytes", lambda it: f"{it['log']['checkpoint']:,}")
    row("commit of a minute, p50", lambda it: f"{it['commit']['p50_s'] * 1000:.1f} ms")
    row("commit of a minute, max", lambda it: f"{it['commit']['max_s'] * 1000:.1f} ms")
    for name in ROWS:
        row(name, lambda it, name=name: cost(it.get(name)))
    return "\n".join(lines)


def write(out, figures, options, machine):
    """Writes what there is so far."""
    parts = [f"# Gold after a day, a month and a year ({out.name})", "Wall time (CPU time) and peak memory of the process; `bench/gold_year` says how.", ""]
    for layout, spans in figures.items():
        parts += [f"## A partition per {NAMES[layout]}", "", table(spans), ""]
    out.with_suffix(".md").write_text("\n".join(parts))
    settings = {key: str(value) for key, value in options.items() if key not in ("medallion", "work", "out")}
    text = json.dumps({"machine": machine, "settings": settings, "figures": figures}, indent=1)
    out.with_suffix(".json").write_text(text + "\n")
