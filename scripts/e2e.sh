#!/usr/bin/env bash
# The whole job on a real Apache Kafka, with the built binary, as a user would run it:
#
#   views     a million view events over six partitions, `run --once --close-windows`, `audit`
#   crash     the same topic into another lake, killed by SIGKILL again and again: the same rows in all tables
#   layers    three processes, one per layer; gold alone catches up: the same rows in all tables
#   web       real page requests: every gold figure equal to what DuckDB computes from the file
#   replay    a rule added, silver replayed: equals a fresh run; the rule removed: the original rows are back
#   secure    TLS and SASL; the password shows nowhere
#   readers   deltalake, Polars, DuckDB and Spark agree about every table
#
#   scripts/e2e.sh [STEP...]    all steps, or these (all but `web` and `secure` need `views`)
#
# Settings (environment): MEDALLION_BIN, MEDALLION_E2E_COUNT (1000000), MEDALLION_E2E_KILLS (20), MEDALLION_E2E_SEED,
# MEDALLION_E2E_LATE (0.001: the share of late events; with 0 no row depends on how partitions interleave, so no window may differ),
# MEDALLION_E2E_DIR (a new temporary directory, removed at the end), MEDALLION_SHARED (../shared, for `web`).
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$project/target}
bin=${MEDALLION_BIN:-$target/debug/medallion}
count=${MEDALLION_E2E_COUNT:-1000000}
kills_wanted=${MEDALLION_E2E_KILLS:-20}
late=${MEDALLION_E2E_LATE:-0.001}
seed=${MEDALLION_E2E_SEED:-$((EPOCHSECONDS % 32768))}
web_file=${MEDALLION_SHARED:-$project/../shared}/data/web_requests.ndjson.gz
# A broker of its own: the topics of the declared pipelines must be fresh.
export MEDALLION_KAFKA_PORT=${MEDALLION_E2E_KAFKA_PORT:-29092}
export MEDALLION_KAFKA_CONTROLLER_PORT=$((MEDALLION_KAFKA_PORT + 1))
export KAFKA_BROKERS=127.0.0.1:$MEDALLION_KAFKA_PORT
plain=$KAFKA_BROKERS
secured=127.0.0.1:$((MEDALLION_KAFKA_PORT + 2))
password=open-sesame-$seed
RANDOM=$seed

say() { printf 'e2e: %s\n' "$*"; }
fail() { printf 'e2e: FAILED: %s\n' "$*" >&2; exit 1; }
now() { date +%s.%N; }
# Arithmetic on seconds with fractions, which bash has not.
calc() { awk "BEGIN { printf \"%.3f\", $1 }"; }

work=${MEDALLION_E2E_DIR:-}
made=
if [[ -z $work ]]; then
    work=$(mktemp -d "${TMPDIR:-/tmp}/medallion-e2e.XXXXXX")
    made=$work
fi
mkdir -p "$work"
work=$(cd "$work" && pwd)
export MEDALLION_KAFKA_DIR=$work/kafka
log=$work/medallion.log
children=()

finish() {
    local code=$? pid
    for pid in "${children[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    "$here/kafka.sh" stop || true
    if ((code != 0)); then
        printf 'e2e: seed %s, files in %s, the last log lines:\n' "$seed" "$work" >&2
        tail -n 30 "$log" >&2 2>/dev/null || true
    elif [[ -n $made ]]; then
        rm -rf "$made"
    fi
    exit "$code"
}
trap finish EXIT
trap 'printf "e2e: line %s: \`%s\` exited with %s\n" "$LINENO" "$BASH_COMMAND" "$?" >&2' ERR

# A copy of the declarations, so that a step can edit them, and beside it the step's lake. Commits are small, so that a kill
# lands between many of them.
new_project() {
    local to=$work/$1
    mkdir -p "$to/data"
    cp -R "$project/layers" "$project/schemas" "$project/medallion.toml" "$to/"
    cp "$project"/data/*.csv "$to/data/"
    sed -i -e 's/^max_rows = .*/max_rows = 20_000/' -e 's/^max_delay = .*/max_delay = "200ms"/' "$to"/layers/*/bronze.toml
    grep -q '^max_rows = 20_000$' "$to/layers/view_log/bronze.toml" || fail "layers/view_log/bronze.toml has no line max_rows = ... to edit"
}

# m NAME ARGS...: the binary on the project and lake called NAME.
m() {
    local name=$1
    shift
    "$bin" --project "$work/$name" --lake "$work/$name/lake" --metrics off "$@" 2>>"$log"
}

# Like m, and the last line on stdout must be one JSON value.
m_summary() {
    local out
    out=$(m "$@") || fail "medallion ${*:2} on $1 exited with $?"
    printf '%s\n' "$out" | tail -n 1 | tee "$work/summary.json"
    "$here/readers.sh" python -c 'import json,sys; json.load(open(sys.argv[1]))' "$work/summary.json" ||
        fail "the last line of medallion ${*:2} is not JSON"
}

audit() {
    m "$1" audit -p "$2" >"$work/audit.txt" || { cat "$work/audit.txt"; fail "audit of $1 exited with $?"; }
    tail -n 1 "$work/audit.txt"
}

# same NAME NAME [--records]: both lakes' view_log tables hold the same rows.
same() {
    "$here/readers.sh" python "$project/tests/readers/compare_lakes.py" "$work/$1/lake" "$work/$2/lake" view_log \
        --project "$work/$1" "${@:3}"
}

# An uninterrupted silver and gold over the bronze that another lake ended with.
twin() {
    new_project "$2"
    mkdir -p "$work/$2/lake/view_log"
    cp -R "$work/$1/lake/view_log/bronze" "$work/$2/lake/view_log/"
}
finish_twin() {
    m "$1" run silver -p view_log --once >/dev/null || fail "run silver on $1 exited with $?"
    m "$1" run gold -p view_log --once >/dev/null || fail "run gold on $1 exited with $?"
}

# The lake may not be there yet.
commits() { { find "$work/$1/lake" -path '*/_delta_log/*.json' 2>/dev/null || true; } | wc -l; }

wait_for_table() {
    local until=$((SECONDS + 60))
    until compgen -G "$work/$1/_delta_log/*.json" >/dev/null; do
        ((SECONDS < until)) || fail "no table $1 after 60 s"
        sleep 0.2
    done
}

step_views() {
    new_project a
    m a check >/dev/null || fail "check exited with $?"
    # Few late events over many minutes: which of them are late may differ between two lakes that read the topic on their own,
    # and most windows must stay comparable.
    m a produce --topic view_log --brokers "$KAFKA_BROKERS" --count "$count" --partitions 6 --seed 7 \
        --event-rate 100 --late "$late" >/dev/null ||
        fail "produce exited with $?"
    local begun
    begun=$(now)
    m_summary a run -p view_log --once --close-windows
    took=$(calc "$(now) - $begun")
    say "uninterrupted run took $took s"
    audit a view_log
    m a status --output json >"$work/status.json" || fail "status exited with $?"
    "$here/readers.sh" python -c 'import json,sys; json.load(open(sys.argv[1]))' "$work/status.json" || fail "status is not JSON"
    # A second run finds nothing to do and doubles nothing.
    begun=$(now)
    m_summary a run -p view_log --once --close-windows
    idle=$(calc "$(now) - $begun")
    audit a view_log
    printf '%s %s\n' "$took" "$idle" >"$work/times"
}

step_crash() {
    local took idle kills=0 working=0 tries=0 pid dice delay before
    read -r took idle <"$work/times"
    new_project b
    # Each try gets on average the start-up plus a share of the work, so that the kills are spread over all of it.
    while ((kills < kills_wanted)); do
        ((++tries <= kills_wanted * 5)) || fail "only $kills kills in $tries tries"
        # Rolled out here: a subshell would roll the same number again and again.
        dice=$RANDOM
        delay=$(calc "($idle + $took / ($kills_wanted + 5)) * 2 * $dice / 32768")
        before=$(commits b)
        "$bin" --project "$work/b" --lake "$work/b/lake" --metrics off run -p view_log --once --close-windows >/dev/null 2>>"$log" &
        pid=$!
        children=("$pid")
        sleep "$delay"
        if kill -KILL "$pid" 2>/dev/null; then
            kills=$((kills + 1))
            (($(commits b) == before)) || working=$((working + 1))
        fi
        wait "$pid" 2>/dev/null || true
        children=()
    done
    say "killed $kills times in $tries runs, $working of them after commits of that run"
    ((working > 0)) || fail "no run was killed after a commit: set MEDALLION_E2E_COUNT higher"
    m_summary b run -p view_log --once --close-windows
    audit b view_log
    say "against the lake of an uninterrupted run of its own"
    same a b --records | tee "$work/same.txt"
    [[ $late != 0 ]] || grep -qF "(0 windows with other late rows left out)" "$work/same.txt" ||
        fail "without late events gold must be the same in every window"
    say "against an uninterrupted silver and gold over the same bronze"
    twin b b_twin
    finish_twin b_twin
    same b b_twin
}

step_layers() {
    new_project c
    start_layer c bronze
    wait_for_table c/lake/view_log/bronze
    start_layer c silver
    wait_for_table c/lake/view_log/silver
    start_layer c gold
    sleep 3
    # SIGTERM ends each at a batch; what is left is caught up by one layer after the other, gold alone at last.
    local pid
    for pid in "${children[@]}"; do
        kill -TERM "$pid"
        wait "$pid" || fail "a layer's process ended with $? on SIGTERM"
    done
    children=()
    m_summary c run bronze -p view_log --once --close-windows
    m_summary c run silver -p view_log --once
    m_summary c run gold -p view_log --once
    audit c view_log
    same a c --records
    twin c c_twin
    finish_twin c_twin
    same c c_twin
}

# Not through m: a function in the background is a subshell, and a signal to it does not reach the program.
start_layer() {
    "$bin" --project "$work/$1" --lake "$work/$1/lake" --metrics off run "$2" -p view_log >/dev/null 2>>"$log" &
    children+=("$!")
}

step_web() {
    if [[ ! -r $web_file ]]; then
        say "web: skipped, there is no $web_file"
        return
    fi
    new_project w
    m w produce --topic web_requests --brokers "$KAFKA_BROKERS" --partitions 3 --file "$web_file" --key request_id >/dev/null ||
        fail "produce of a file exited with $?"
    m_summary w run -p web_requests --once --close-windows
    audit w web_requests
    "$here/readers.sh" python "$project/tests/readers/web_requests.py" "$web_file" "$work/w/lake" --project "$work/w"
}

step_replay() {
    new_project r
    cp -R "$work/a/lake" "$work/r/lake"
    cp "$work/r/layers/view_log/silver.toml" "$work/silver.toml"
    local rule='
[[expect]]
name = "not_campaign_20"
check = "campaign_id <> 20"
on_fail = "reject"
'
    printf '%s' "$rule" >>"$work/r/layers/view_log/silver.toml"
    if m r run silver -p view_log --once >/dev/null; then fail "run took a changed definition without being asked"; fi
    m r replay silver -p view_log --yes >/dev/null || fail "replay exited with $?"
    audit r view_log
    if same a r >/dev/null 2>&1; then fail "the added rule changed nothing"; fi
    twin a r_fresh
    printf '%s' "$rule" >>"$work/r_fresh/layers/view_log/silver.toml"
    finish_twin r_fresh
    say "replayed with the rule, against a fresh run with it"
    same r r_fresh
    cp "$work/silver.toml" "$work/r/layers/view_log/silver.toml"
    m r replay silver -p view_log --yes >/dev/null || fail "replay exited with $?"
    audit r view_log
    say "replayed without the rule, against the original"
    same a r
}

# TLS with a certificate of our own and SASL with a password from the environment, which must show nowhere.
step_secure() {
    new_project s
    local options="\"security.protocol\" = \"SASL_SSL\", \"sasl.mechanism\" = \"PLAIN\", \"sasl.username\" = \"medallion\", \"sasl.password\" = { env = \"MEDALLION_E2E_PASSWORD\" }, \"ssl.ca.location\" = \"$work/tls/cert.pem\""
    sed -i "s|^topic = .*|topic = \"secured\"\noptions = { $options }|" "$work/s/layers/view_log/bronze.toml"
    local flags=(-X security.protocol=SASL_SSL -X sasl.mechanism=PLAIN -X sasl.username=medallion
        -X sasl.password=env:MEDALLION_E2E_PASSWORD -X "ssl.ca.location=$work/tls/cert.pem")
    export KAFKA_BROKERS=$secured MEDALLION_E2E_PASSWORD=$password
    m s produce --topic secured --brokers "$secured" --partitions 3 --count 20000 "${flags[@]}" >/dev/null ||
        fail "produce over SASL_SSL exited with $?"
    m_summary s --log debug run -p view_log --once --close-windows
    audit s view_log
    export MEDALLION_E2E_PASSWORD=wrong-$password
    if m s run -p view_log --once >/dev/null; then fail "run took a wrong password"; fi
    unset MEDALLION_E2E_PASSWORD
    export KAFKA_BROKERS=$plain
    if grep -rqF "$password" "$log" "$work/s/lake"; then fail "the password shows in the log or in the lake"; fi
    say "20000 events over SASL_SSL; a wrong password is refused; the password shows nowhere"
}

# A certificate for 127.0.0.1 and a listener that asks for a password, beside the plain one.
secure_listener() {
    mkdir -p "$work/tls"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext "subjectAltName=IP:127.0.0.1" \
        -keyout "$work/tls/key.pem" -out "$work/tls/cert.pem" 2>/dev/null
    openssl pkcs12 -export -in "$work/tls/cert.pem" -inkey "$work/tls/key.pem" -out "$work/tls/broker.p12" \
        -passout "pass:$password"
    cat >"$work/tls/listener.properties" <<PROPERTIES
listeners=PLAINTEXT://$plain,CONTROLLER://127.0.0.1:$MEDALLION_KAFKA_CONTROLLER_PORT,SASL_SSL://$secured
advertised.listeners=PLAINTEXT://$plain,SASL_SSL://$secured
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_medallion="$password";
listener.name.sasl_ssl.ssl.keystore.type=PKCS12
listener.name.sasl_ssl.ssl.keystore.location=$work/tls/broker.p12
listener.name.sasl_ssl.ssl.keystore.password=$password
PROPERTIES
    export MEDALLION_KAFKA_PROPERTIES=$work/tls/listener.properties
}

step_readers() {
    # With rows after the declared end, whose watermark is the end of time.
    new_project e
    cp -R "$work/a/lake" "$work/e/lake"
    m e produce --topic view_log --brokers "$KAFKA_BROKERS" --first "$count" --count 2000 --event-rate 100 >/dev/null ||
        fail "produce exited with $?"
    m_summary e run -p view_log --once
    audit e view_log
    "$here/readers.sh" "$work/e/lake" view_log >"$work/readers.txt" || fail "readers differ about view_log"
    tail -n 1 "$work/readers.txt"
    [[ ! -d $work/w/lake ]] && return
    "$here/readers.sh" "$work/w/lake" web_requests >"$work/readers.txt" || fail "readers differ about web_requests"
    tail -n 1 "$work/readers.txt"
}

[[ -x $bin ]] || fail "no program at $bin: run \`cargo build\`, or set MEDALLION_BIN"
steps=("$@")
((${#steps[@]})) || steps=(views crash layers web replay secure readers)
for step in "${steps[@]}"; do
    declare -F "step_$step" >/dev/null || fail "no step $step: views, crash, layers, web, replay, secure, readers"
done
say "seed $seed, $count events, work in $work"
"$here/readers.sh" install
secure_listener
"$here/kafka.sh" start
for step in "${steps[@]}"; do
    say "== $step"
    begun=$SECONDS
    "step_$step"
    say "== $step ok in $((SECONDS - begun)) s"
done
say "all steps ok"
