# For scripts/schedule.sh: the DAGs under `airflow dags test`.

# dag_run DAG CODE: one run of the DAG; the log has what it said.
dag_run() {
    local code=0
    airflow dags test "$1" >"$log" 2>&1 || code=$?
    ((code == $2)) || fail "airflow dags test $1 exited with $code, not $2"
}
expect() {
    python "$project/tests/schedule/expect.py" "$AIRFLOW_HOME/airflow.db" "$@" || fail "the last run of $1 is not as expected"
}
said() { grep -qF -- "$1" "$log" || fail "the task's log does not say: $1"; }
lake() { medallion --project "$MEDALLION_PROJECT" --log error --metrics off "$@"; }
counts() {
    lake query --output json "select (select count(*) from view_log.silver) silver,
        (select count(*) from view_log.rejects) rejects, (select sum(total_count) from view_log.views_per_minute) gold"
}
# Two gold files of the same size change places: rows that nobody computed.
swap_gold_files() {
    local -a files
    mapfile -t files < <(find "$MEDALLION_PROJECT/data/lake/view_log/gold" -name '*.parquet')
    local one=${files[0]} other
    for other in "${files[@]:1}"; do
        if [[ $(stat -c %s "$one") == "$(stat -c %s "$other")" ]] && ! cmp -s "$one" "$other"; then
            mv "$one" "$one.away"
            mv "$other" "$one"
            mv "$one.away" "$other"
            return
        fi
    done
    fail "no two gold files have the same size and other rows"
}

step_airflow() {
    install
    export MEDALLION_PROJECT=$work/airflow/project
    export AIRFLOW_HOME=$work/airflow/home AIRFLOW__CORE__DAGS_FOLDER=$work/airflow/dags AIRFLOW__CORE__LOAD_EXAMPLES=False
    export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite:///$AIRFLOW_HOME/airflow.db PYTHONDONTWRITEBYTECODE=1
    mkdir -p "$AIRFLOW_HOME" "$AIRFLOW__CORE__DAGS_FOLDER" "$work/airflow/bin"
    ln -s "$bin" "$work/airflow/bin/medallion"
    export PATH=$work/airflow/bin:$home/venv/bin:$PATH
    # Two minutes between tries are two seconds here.
    sed 's/"retry_delay": timedelta(minutes=2)/"retry_delay": timedelta(seconds=2)/' \
        "$examples/airflow/medallion.py" >"$AIRFLOW__CORE__DAGS_FOLDER/medallion.py"
    grep -q 'seconds=2' "$AIRFLOW__CORE__DAGS_FOLDER/medallion.py" || fail "the DAG file has no retry_delay of two minutes"
    new_project "$MEDALLION_PROJECT"
    airflow db migrate >"$log" 2>&1 || fail "airflow db migrate exited with $?"

    dag_run medallion_view_log 0
    expect medallion_view_log bronze=success/1 silver=success/1 gold=success/1 account=success/1 \
        'account:{"records":603,"accepted":600,"duplicates":1,"rejected":{"malformed":1,"lookup":1}}' \
        'account:{"gold_rows":9,"late":0,"position":605}'
    local first
    first=$(counts)
    [[ $first == '{"silver":600,"rejects":3,"gold":'* ]] || fail "the lake has $first"
    (cd "$AIRFLOW__CORE__DAGS_FOLDER" && python "$project/tests/schedule/account.py") || fail "account is not as expected"
    lake audit -p view_log | grep -F 'audit: ok' || fail "the audit exited with $?"
    say "a run: XCom and lake have 603 records, 600 accepted, 9 gold rows"

    dag_run medallion_view_log 0
    expect medallion_view_log account=success/1 \
        'account:{"records":0,"accepted":0,"duplicates":0,"rejected":{},"gold_rows":0,"late":0}'
    [[ $(counts) == "$first" ]] || fail "a second run changed the lake: $first became $(counts)"
    say "a second run: success, and nothing is added"

    # Another process has silver's lock until the first try has met it.
    events 700 60 10 >>"$MEDALLION_PROJECT/input/views.ndjson"
    (
        exec 9>>"$MEDALLION_PROJECT/data/lake/_locks/view_log.silver.lock"
        flock 9
        for ((tenths = 0; tenths < 600; tenths++)); do
            if grep -q 'is being written by another process' "$log"; then break; fi
            sleep 0.1 9>&-
        done
    ) &
    dag_run medallion_view_log 0
    expect medallion_view_log bronze=success/1 silver=success/2 gold=success/1 'account:{"records":60,"accepted":60}'
    say "silver while another process writes it: exit code 1, tried again, success"

    # The first try of silver is told to end while it is at work, as by a time limit or a worker that goes away.
    events 800 60 10 >>"$MEDALLION_PROJECT/input/views.ndjson"
    rm "$work/airflow/bin/medallion"
    cat >"$work/airflow/bin/medallion" <<END
#!/usr/bin/env bash
[[ \$2 == silver && ! -e $work/airflow/told ]] || exec "$bin" "\$@"
MEDALLION_FAILPOINT=S1=pause:1000 "$bin" "\$@" 2>"$work/airflow/told" &
until grep -q 'failpoint S1' "$work/airflow/told"; do sleep 0.1; done
kill -TERM \$!
wait \$!
END
    chmod +x "$work/airflow/bin/medallion"
    dag_run medallion_view_log 0
    expect medallion_view_log bronze=success/1 silver=success/2 gold=success/1 account=success/1
    said 'Command exited with return code 143'
    grep -q 'stopped before the end of what was there' "$work/airflow/told" || fail "silver did not say that it was stopped"
    say "silver stopped by SIGTERM: exit code 143, tried again, success"

    local silver=$MEDALLION_PROJECT/layers/view_log/silver.toml
    cp "$silver" "$work/airflow/silver.toml"
    echo 'broken = 1' >>"$silver"
    dag_run medallion_view_log 1
    expect medallion_view_log bronze=failed/1 silver=upstream_failed/0 gold=upstream_failed/0 account=upstream_failed/0
    said 'Command exited with return code 4'
    said 'unknown key'
    say "a broken declaration: bronze exits with 4 and is not tried again"

    cp "$work/airflow/silver.toml" "$silver"
    printf '[[expect]]\nname = "banner"\ncheck = "banner_id > 0"\non_fail = "reject"\n' >>"$silver"
    dag_run medallion_view_log 1
    expect medallion_view_log bronze=success/1 silver=failed/1 gold=upstream_failed/0
    said 'Command exited with return code 4'
    said 'medallion replay'
    cp "$work/airflow/silver.toml" "$silver"
    say "another rule without a replay: silver exits with 4 and is not tried again"

    seq 200 >>"$MEDALLION_PROJECT/input/views.ndjson"
    dag_run medallion_view_log 1
    expect medallion_view_log gold=success/1 account=failed/1
    said '100% of 200 records were rejected'
    say "nothing but rejects: the layers succeed, account fails and is not tried again"

    dag_run medallion_view_log_daily 0
    expect medallion_view_log_daily audit=success/1 maintain=success/1
    say "the daily DAG: audit, then maintain"

    swap_gold_files
    dag_run medallion_view_log_daily 1
    expect medallion_view_log_daily audit=failed/1 maintain=upstream_failed/0
    said 'Command exited with return code 3'
    say "rows that nobody computed: audit exits with 3, is not tried again, and nothing is maintained"
}
