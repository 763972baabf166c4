#!/usr/bin/env bash
# As RUSTC_WORKSPACE_WRAPPER: compiles this package with libFuzzer's coverage counters, and leaves the five hundred
# crates that it depends on as they are, so that they are shared with every other build.
set -euo pipefail
exec "$@" --cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=16
