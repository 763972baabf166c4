"""Writes grafana/dashboards/*.json, which Grafana loads, from the boards beside this file.

    python3 grafana/boards            write them
    python3 grafana/boards --check    exit with 1 where a file is not what it would be
"""

import json
import pathlib
import sys

import cost
import layers
import quality

DASHBOARDS = pathlib.Path(__file__).resolve().parent.parent / "dashboards"


def main():
    stale = []
    for module in (layers, quality, cost):
        path = DASHBOARDS / f"{module.__name__}.json"
        text = json.dumps(module.BOARD, indent=2, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(f"grafana/dashboards/{path.name}")
    if stale:
        sys.exit(f"{', '.join(stale)}: not what grafana/boards says; run `python3 grafana/boards`")


if __name__ == "__main__":
    main()
