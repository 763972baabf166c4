"""Compares the last run of a DAG with what is expected: expect.py DATABASE DAG [TASK=STATE/TRIES | TASK:JSON]...

A JSON object is compared by the keys that it names, with what the task returned.
"""

import json
import sqlite3
import sys


def last_run(database, dag):
    """Per task its state, its tries and its XCom."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        (run,) = connection.execute("select run_id from dag_run where dag_id = ? order by id desc limit 1", [dag]).fetchone()
        states = connection.execute(
            "select task_id, state, try_number from task_instance where dag_id = ? and run_id = ?", [dag, run]
        ).fetchall()
        returned = connection.execute(
            "select task_id, value from xcom where dag_id = ? and run_id = ? and key = 'return_value'", [dag, run]
        ).fetchall()
    return {task: f"{state}/{tries}" for task, state, tries in states}, {task: json.loads(value) for task, value in returned}


def main(database, dag, *expectations):
    states, returned = last_run(database, dag)
    wrong = []
    for expected in expectations:
        if "=" in expected.split(":")[0]:
            task, state = expected.split("=")
            if states.get(task) != state:
                wrong.append(f"{task} is {states.get(task)}, not {state}")
        else:
            task, value = expected.split(":", 1)
            for key, want in json.loads(value).items():
                have = (returned.get(task) or {}).get(key)
                if have != want:
                    wrong.append(f"{task} returned {key} {have}, not {want}")
    if wrong:
        sys.exit(f"{dag}: " + "; ".join(wrong))


main(*sys.argv[1:])
