#!/usr/bin/env bash
# What operators see, against a pipeline that runs: dashboards, alerts, metrics and their pages must fit each other.
#
#   rules    promtool: Prometheus' configuration, the alerts, and their tests
#   boards   grafana/dashboards is what grafana/boards writes
#   live     two pipelines on a real Kafka with bad and late records, one in one process, one in three; Prometheus beside them. Every
#            panel's and every alert's expression has an answer that is a number; every metric is exported, asked for and explained;
#            a renamed one is noticed; a lake that goes away and a process that is killed are told within 30 s; nothing is NaN
#            when the records end, and no layer looks stale; counters are what the tables hold, also after a restart
#
#   scripts/observe.sh [STEP...]    all steps, or these
#
# Debian's package prometheus is fetched and unpacked into MEDALLION_CACHE (~/.cache/medallion), not installed. Settings (environment):
# MEDALLION_BIN, MEDALLION_TEST_KAFKA (a broker to use; else one is started on MEDALLION_OBSERVE_KAFKA_PORT, 39092),
# MEDALLION_OBSERVE_DIR (an empty directory; else a new temporary one, removed at the end).
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$project/target}
bin=${MEDALLION_BIN:-$target/debug/medallion}
cache=${MEDALLION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/medallion}/prometheus
export MEDALLION_KAFKA_PORT=${MEDALLION_OBSERVE_KAFKA_PORT:-39092}
export MEDALLION_KAFKA_CONTROLLER_PORT=$((MEDALLION_KAFKA_PORT + 1))
export PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
# Nothing of whoever starts this may reach the program.
unset MEDALLION_FAILPOINT MEDALLION_CLOCK_OFFSET MEDALLION_LAKE MEDALLION_LOG MEDALLION_METRICS MEDALLION_CHECKPOINTS

say() { printf 'observe: %s\n' "$*"; }
fail() { printf 'observe: FAILED: %s\n' "$*" >&2; exit 1; }

work=${MEDALLION_OBSERVE_DIR:-}
made=
if [[ -z $work ]]; then
    work=$(mktemp -d "${TMPDIR:-/tmp}/medallion-observe.XXXXXX")
    made=$work
fi
mkdir -p "$work"
work=$(cd "$work" && pwd)
export MEDALLION_KAFKA_DIR=$work/kafka
own_kafka=

finish() {
    local code=$?
    [[ -z $own_kafka ]] || "$here/kafka.sh" stop || true
    if ((code != 0)); then
        printf 'observe: files in %s, the last log lines:\n' "$work" >&2
        tail -n 20 "$work/medallion.log" >&2 2>/dev/null || true
    elif [[ -n $made ]]; then
        rm -rf "$made"
    fi
    exit "$code"
}
trap finish EXIT

# The programs of the package, unpacked; sets tools. apt without its own user: that one may not write here.
fetch() {
    local part
    tools=$cache/usr/bin
    [[ -e $cache/COMPLETE ]] && return
    command -v apt-get >/dev/null || fail "there is no apt-get: unpack Prometheus by hand, its programs into $tools"
    say "fetching prometheus into $cache"
    mkdir -p "$(dirname "$cache")"
    part=$(mktemp -d "$cache.XXXXXX")
    (cd "$part" && { apt-get download -qq -o APT::Sandbox::User=root prometheus || {
        apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root prometheus; }; }) >&2 ||
        fail "apt-get download prometheus exited with $?"
    dpkg-deb -x "$part"/prometheus_*.deb "$part"
    rm -f "$part"/*.deb
    touch "$part/COMPLETE"
    # Another fetch may have won the race; what it has is as good.
    mv -T "$part" "$cache" 2>/dev/null || rm -rf "$part"
}

step_rules() {
    "$tools/promtool" check config "$project/prometheus/prometheus.yml"
    "$tools/promtool" check rules "$project"/prometheus/rules/*.yml
    "$tools/promtool" test rules "$project"/prometheus/tests/*.yml
}

step_boards() {
    python3 "$project/grafana/boards" --check
}

step_live() {
    [[ -x $bin ]] || fail "no program at $bin: run \`cargo build\`, or set MEDALLION_BIN"
    local brokers=${MEDALLION_TEST_KAFKA:-}
    if [[ -z $brokers ]]; then
        brokers=127.0.0.1:$MEDALLION_KAFKA_PORT
        own_kafka=yes
        "$here/kafka.sh" start
    fi
    python3 -m observe --project "$project" --work "$work" --binary "$bin" --tools "$tools" --brokers "$brokers"
}

steps=("$@")
((${#steps[@]})) || steps=(rules boards live)
for step in "${steps[@]}"; do
    declare -F "step_$step" >/dev/null || fail "no step $step: rules, boards, live"
done
fetch
for step in "${steps[@]}"; do
    say "== $step"
    begun=$SECONDS
    "step_$step"
    say "== $step ok in $((SECONDS - begun)) s"
done
say "all steps ok"
