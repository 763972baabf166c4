#!/usr/bin/env bash
# Builds the fuzz targets of fuzz/fuzz_targets and runs each for some seconds on top of its seeds.
#
#   scripts/fuzz.sh [seconds-per-target] [target...]      for example: scripts/fuzz.sh 600 decode
#
# Needs nothing but stable Rust and a C++ compiler: only medallion itself is compiled again, with coverage counters; its
# dependencies are those of `cargo test`. A finding ends the script, with the input's file and the command to replay it.
# Settings (environment): CARGO_TARGET_DIR, MEDALLION_SEED, MEDALLION_FUZZ_DIR (corpus and findings, kept between runs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-45}
shift || true
all=(checkpoint decode definition log)
targets=("${@:-${all[@]}}")
seed=${MEDALLION_SEED:-20240601}
target_dir=${CARGO_TARGET_DIR:-target}
work=${MEDALLION_FUZZ_DIR:-$target_dir/fuzz}

build() {
    local examples=()
    for target in "${targets[@]}"; do
        [[ -f fuzz/fuzz_targets/$target.rs ]] || { echo "no such target: $target; there are ${all[*]}" >&2; exit 2; }
        examples+=(--example "fuzz_$target")
    done
    RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/fuzz/rustc.sh \
        cargo build --locked --quiet --features fuzzing "${examples[@]}"
}

# One target: every input within 20 s and 2 GiB; the step's own bounds are asserted inside.
run() {
    local target=$1 program=$target_dir/debug/examples/fuzz_$1
    local corpus=$work/$target/corpus findings=$work/$target/findings log=$work/$target/log
    mkdir -p "$corpus" "$findings"
    echo "== fuzz $target: $seconds s, seed $seed, findings in $findings"
    local options=(-seed="$seed" -rss_limit_mb=2048 -timeout=20 -max_len=65536 -artifact_prefix="$findings/")
    [[ -f fuzz/dictionaries/$target.dict ]] && options+=(-dict="fuzz/dictionaries/$target.dict")
    if TMPDIR=$scratch "$program" "${options[@]}" -max_total_time="$seconds" -print_final_stats=1 \
        "$corpus" "fuzz/seeds/$target" >"$log" 2>&1; then
        grep -E 'INITED|DONE' "$log" || true
        grep -E 'stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)' "$log"
        return
    fi
    tail -40 "$log" >&2
    echo "fuzz $target: found something, seed $seed. Replay it with: $program FILE, where FILE is the newest of $findings" >&2
    ls -t "$findings" | head -3 >&2
    exit 1
}

# In memory where there is some to be had: a target writes a file per input.
scratch=$(mktemp -d -p "$([[ -w /dev/shm ]] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$scratch"' EXIT

build
for target in "${targets[@]}"; do
    run "$target"
done
