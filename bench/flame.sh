#!/usr/bin/env bash
# Where the CPU time of a catch-up goes: a flame graph per layer, from one run over a topic that is full already.
#
#   bench/flame.sh BROKERS TOPIC DIRECTORY     writes bronze.svg, silver.svg, gold.svg and kafka.svg there
#
# Needs Linux perf, and inferno (cargo install inferno). MEDALLION_BIN names a release build that is there already.
set -euo pipefail

brokers=${1:?usage: bench/flame.sh BROKERS TOPIC DIRECTORY} topic=${2:?a topic} out=${3:?a directory}
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -z ${MEDALLION_BIN:-} ]]; then
    (cd "$project" && cargo build --release --locked --bins --examples)
    MEDALLION_BIN=${CARGO_TARGET_DIR:-$project/target}/release/medallion
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/project" "$out"
cp -r "$project"/{layers,schemas,data,medallion.toml} "$work/project"
sed -i "s/^topic = .*/topic = \"$topic\"/" "$work/project/layers/view_log/bronze.toml"

# Call stacks from debug information: the system's libraries keep no frame pointers.
KAFKA_BROKERS=$brokers perf record -q -F 499 --call-graph dwarf,16384 -o "$work/perf.data" -- \
    "$MEDALLION_BIN" --project "$work/project" --lake "$work/lake" --checkpoints "$work/checkpoints" --metrics off --log warn \
    run -p view_log --once --close-windows >/dev/null
perf script -i "$work/perf.data" --no-inline 2>/dev/null | inferno-collapse-perf >"$work/stacks"
total=$(awk '{ all += $NF } END { print all }' "$work/stacks")
for thread in bronze silver gold kafka; do
    case $thread in kafka) pattern='^rdk:' ;; *) pattern="^$thread;" ;; esac
    # A frame of [unknown] is the bottom of a stack that was longer than what was kept of it.
    grep -E "$pattern" "$work/stacks" | sed 's/;\[unknown\]//g' >"$work/$thread" || true
    share=$(awk -v total="$total" '{ all += $NF } END { printf "%.0f", 100 * all / total }' "$work/$thread")
    echo "$thread: $share % of the process' CPU time"
    inferno-flamegraph --title "$thread: $share % of the process' CPU time" --minwidth 0.3 --width 1200 \
        --colors rust --hash <"$work/$thread" >"$out/$thread.svg" || true
done
