"""A status as a busy pipeline with troubles has it after an hour, which no test waits for: large numbers, long words, every state."""

import copy
import datetime
import math

LONG = "/var/lib/medallion/" + "a_directory_with_a_long_name/" * 12


def of(status, name):
    """The status, made like that."""
    status = copy.deepcopy(status)
    pipeline = next(pipeline for pipeline in status["pipelines"] if pipeline["pipeline"] == name)
    now = datetime.datetime.fromisoformat(status["now"])
    begin = now.replace(second=0, microsecond=0) - datetime.timedelta(minutes=60)
    pipeline["history"] = [
        {"at": (begin + datetime.timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ"), "positions": positions(minute)}
        for minute in range(61)
    ]
    for standing, rows in zip(pipeline["layers"], (None, 31_234_567, 912_345_678_901)):
        standing["position"], standing["lag_rows"] = 7_123_456_789_012, rows
        standing["lag_seconds"] = 5_432.1 if rows else 0.04
        standing["files"], standing["bytes"], standing["log_bytes"] = 1_234_567, 9_876_543_210_987, 1_073_741_823
        standing["activity"]["rows_per_second"] = 812_345.5
    pipeline["quality"] |= {"records": 7_000_000_000_000, "judged": 6_999_999_999_999, "malformed": 1}
    silver, gold = (
        {"layer": layer, "state": state, "since": status["now"], "why": f"opening {LONG}: no space left on device", "next": "make room"}
        for layer, state in (("silver", "retrying"), ("gold", "stalled"))
    )
    pipeline["fares"] = [fare for fare in pipeline["fares"] if fare["layer"] == "bronze"] + [silver, gold]
    return status


def positions(minute):
    """Bronze in waves, silver behind it and standing still for the last minutes, gold from the middle of the hour on."""
    bronze = 7_000_000_000_000 + minute * 40_000_000 + int(9_000_000 * math.sin(minute / 4))
    silver = min(minute, 48) * 40_000_000 + 6_999_900_000_000
    return {"bronze": bronze, "silver": silver} | ({"gold": silver - 5_000_000} if minute >= 30 else {})
