#!/usr/bin/env bash
# The examples of schedulers do what examples/README.md says, with the built binary and a small project that reads files:
#
#   airflow   `dags test` of both DAGs: what the tasks return, what is in the lake, and how each kind of failure ends
#   cron      the crontab's commands with cron's environment: silent when all is well, an error otherwise
#   units     the units of systemd are right, and confined
#   systemd   the units as they are, under a systemd of their own in its own namespaces (needs root)
#
#   scripts/schedule.sh [STEP...]     all steps, or these
#   scripts/schedule.sh install       only prepare the cache
#
# Uses MEDALLION_BIN, or the binary that the tests were built with. Airflow lies in MEDALLION_CACHE (~/.cache/medallion).
set -Eeuo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
examples=$project/examples
cache=${MEDALLION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/medallion}
home=$cache/airflow/$(sha256sum <"$examples/airflow/requirements.txt" | cut -c1-16)
target=${CARGO_TARGET_DIR:-$project/target}
bin=${MEDALLION_BIN:-$target/debug/medallion}

say() { printf 'schedule: %s\n' "$*"; }
fail() { printf 'schedule: FAILED: %s\n' "$*" >&2; exit 1; }

install() {
    [[ -e $home/COMPLETE ]] && return
    command -v python3 >/dev/null && python3 -c 'import ensurepip' 2>/dev/null ||
        fail "python3 with venv is missing: apt-get install python3 python3-venv"
    say "preparing $home (once)"
    rm -rf "$home"
    mkdir -p "$home"
    python3 -m venv "$home/venv"
    "$home/venv/bin/pip" install -q --disable-pip-version-check -r "$examples/airflow/requirements.txt" >&2
    touch "$home/COMPLETE"
}

work=$(mktemp -d "${TMPDIR:-/tmp}/medallion-schedule.XXXXXX")
log=$work/log
# What the systemd step makes; empty where it makes none.
cgroup=
finish() {
    local code=$?
    if [[ -n $cgroup ]]; then find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
    if ((code != 0)); then tail -n 40 "$log" >&2 2>/dev/null || true; fi
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'printf "schedule: line %s: \`%s\` exited with %s\n" "$LINENO" "$BASH_COMMAND" "$?" >&2' ERR

# new_project DIR: view_log, reading files. 600 events in ten minutes of which the last stays open, and one of each: sent
# again, broken, of a campaign that nobody knows.
new_project() {
    mkdir -p "$1"/{layers/view_log,schemas,data,input}
    cp "$project"/layers/view_log/{silver,gold}.toml "$1/layers/view_log/"
    cp "$project/schemas/view_log.json" "$1/schemas/"
    cp "$project/data/campaigns.csv" "$1/data/"
    echo 'source = { kind = "files", paths = ["input/*.ndjson"] }' >"$1/layers/view_log/bronze.toml"
    {
        events 0 600 10
        events 0 1 10
        echo '{"view_id":'
        events 600 1 9999
    } >"$1/input/views.ndjson"
}

# events FROM COUNT CAMPAIGN: one a second; all began together, so that each minute has another mean.
events() {
    awk -v from="$1" -v count="$2" -v campaign="$3" 'BEGIN {
        for (n = from; n < from + count; n++) {
            end = sprintf("2024-01-01T%02d:%02d:%02dZ", n / 3600, n / 60 % 60, n % 60)
            printf "{\"view_id\":\"v%d\",\"start_timestamp\":\"2024-01-01T00:00:00Z\",\"end_timestamp\":\"%s\",", n, end
            printf "\"banner_id\":1,\"campaign_id\":%d}\n", campaign
        }
    }'
}

source "$project/tests/schedule/airflow.sh"
source "$project/tests/schedule/cron.sh"
source "$project/tests/schedule/systemd.sh"

[[ ${1:-} == install ]] && { install; exit; }
[[ -x $bin ]] || fail "there is no $bin: run \`cargo test --locked --no-run\` first, or set MEDALLION_BIN"
bin=$(realpath "$bin")
# Nothing of the caller's settings may lead elsewhere.
unset "${!MEDALLION_@}" 2>/dev/null || true

steps=("$@")
((${#steps[@]})) || steps=(units cron systemd airflow)
for step in "${steps[@]}"; do
    case $step in airflow | cron | units | systemd) ;; *) fail "there is no step $step" ;; esac
    begun=$SECONDS
    say "== $step"
    "step_$step"
    say "$step: ok in $((SECONDS - begun)) s"
done
