"""What `account` of the DAG file in this directory refuses although every command exited with 0."""

import sys

sys.path.insert(0, ".")

from airflow.sdk.exceptions import AirflowFailException  # noqa: E402
from medallion import account  # noqa: E402


def summaries(silver_position=100, accepted=98, malformed=0):
    """The summaries of the three layers for a hundred rows, two of them ticks."""
    names = ["duplicate", "schema", "event_time", "lookup", "expectation", "dropped"]
    fates = dict.fromkeys(names, 0) | {"accepted": accepted, "malformed": malformed, "ticks": 2, "failed_rules": [["rule", 0]]}
    layers = [
        {"layer": "bronze", "rows_in": 100, "rows_out": 100, "position": 100},
        {"layer": "silver", "rows_in": 100, "rows_out": accepted, "position": silver_position, "fates": fates},
        {"layer": "gold", "rows_in": accepted, "rows_out": 9, "position": 100, "late": 0},
    ]
    return [{"pipelines": [{"pipeline": "view_log", "layers": [layer]}]} for layer in layers]


def refused(why, **changed):
    try:
        account(*summaries(**changed))
    except AirflowFailException as refusal:
        assert why in str(refusal), refusal
    else:
        raise AssertionError(f"not refused: {changed}")


assert account(*summaries())["records"] == 98
assert account(*summaries(accepted=97, malformed=1))["rejected"] == {"malformed": 1}
refused("stopped before it was through", silver_position=60)
refused("do not add up", accepted=97)
