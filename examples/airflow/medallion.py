"""medallion under Airflow 3: the three layers every ten minutes; the audit, then maintenance, once a day.

A task is one command. Each may be tried again at any time: a layer goes on where its table ends, so a retry, a run that
was left out and two runs at once add no row twice. The worker needs `medallion` on its PATH, the project directory, and
MEDALLION_LAKE in its environment; a lake on local disk ties all tasks to that host (set `queue` in TASKS), S3 does not.
"""

import json
import os
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

PIPELINES = ["view_log"]
PROJECT = os.environ.get("MEDALLION_PROJECT", "/etc/medallion")
# Usage, a failed audit, invalid definitions: the same again until a person has done something.
NO_RETRY = (2, 3, 4)
# More than this share of rejected records, among enough to tell, is a producer's fault that somebody must hear of.
REJECTED_SHARE_MAX = 0.2
REJECTED_RECORDS_MIN = 100
REJECTED = ["malformed", "schema", "event_time", "lookup", "expectation"]
# What becomes of a row of bronze: each has one of these.
FATES = ["accepted", *REJECTED, "duplicate", "dropped", "ticks"]
TASKS = {"retries": 3, "retry_delay": timedelta(minutes=2)}
DAGS = {
    "start_date": datetime(2024, 1, 1, tzinfo=UTC),
    "catchup": False,
    # Every layer has one writer: a second run would fail and try again until the first is through.
    "max_active_runs": 1,
    "default_args": TASKS,
    "tags": ["medallion"],
    "doc_md": __doc__,
}


class Medallion(BashOperator):
    """`medallion ARGUMENTS`, whose last line on stdout is JSON and becomes the task's XCom."""

    def __init__(self, *, arguments, **options):
        super().__init__(
            # Airflow takes the last line of stderr and stdout together. So the log goes by as it comes and the result is
            # printed when the command is through; if it failed, the shell ends with its exit code.
            bash_command=f"result=$(medallion {arguments}) && echo \"$result\"",
            # Commands that run side by side cannot all serve metrics on one port.
            env={"MEDALLION_PROJECT": PROJECT, "MEDALLION_METRICS": "off"},
            append_env=True,
            skip_on_exit_code=NO_RETRY,
            output_processor=json.loads,
            **options,
        )

    def execute(self, context):
        # BashOperator can tell exit codes apart only by skipping, and what is skipped looks well.
        try:
            return super().execute(context)
        except AirflowSkipException as skipped:
            code = str(skipped).removesuffix(" Skipping.")
            raise AirflowFailException(f"{code} A retry would end alike: the lines above say what to do.") from None


def account(bronze, silver, gold):
    """What a run did, from the layers' summaries. Raises where an exit code of 0 is not enough."""
    bronze, silver, gold = (summary["pipelines"][0]["layers"][0] for summary in (bronze, silver, gold))
    # Silver and gold began after the layer before them was through, so neither may end short of it.
    if not bronze["position"] <= silver["position"] <= gold["position"]:
        positions = {layer["layer"]: layer["position"] for layer in (bronze, silver, gold)}
        raise AirflowFailException(f"a layer was stopped before it was through: {positions}; the next run goes on there")
    fates = {fate: silver["fates"][fate] for fate in FATES}
    if sum(fates.values()) != silver["rows_in"]:
        raise AirflowFailException(f"the fates of {silver['rows_in']} rows do not add up: {fates}; run `medallion audit`")
    records = silver["rows_in"] - fates["ticks"]
    rejected = {reason: fates[reason] for reason in REJECTED if fates[reason]}
    share = sum(rejected.values()) / max(records, 1)
    if records >= REJECTED_RECORDS_MIN and share > REJECTED_SHARE_MAX:
        raise AirflowFailException(f"{share:.0%} of {records} records were rejected: {rejected}; the table rejects has them")
    return {
        "records": records,
        "accepted": fates["accepted"],
        "duplicates": fates["duplicate"],
        "rejected": rejected,
        "gold_rows": gold["rows_out"],
        "late": gold["late"],
        "position": gold["position"],
    }


def layers(pipeline):
    """Bronze, silver, gold, and a look at what they did."""
    with DAG(f"medallion_{pipeline}", schedule="*/10 * * * *", **DAGS) as dag:
        # A backlog that takes longer is stopped between two steps; the next try goes on there.
        bronze, silver, gold = (
            Medallion(
                task_id=layer,
                arguments=f"run {layer} --once -p {pipeline}",
                execution_timeout=timedelta(hours=1),
            )
            for layer in ("bronze", "silver", "gold")
        )
        bronze >> silver >> gold >> task(account)(bronze.output, silver.output, gold.output)
    return dag


def daily(pipeline):
    """The audit, and maintenance where it finds nothing: what is to be looked into is left as it is."""
    with DAG(f"medallion_{pipeline}_daily", schedule="20 3 * * *", **DAGS) as dag:
        audit = Medallion(task_id="audit", arguments=f"audit --output json -p {pipeline}")
        audit >> Medallion(task_id="maintain", arguments=f"maintain --output json -p {pipeline}")
    return dag


for name in PIPELINES:
    layers(name)
    daily(name)
