#!/usr/bin/env bash
# What the Python package deltalake does to our tables, while we run and while we do not: harmless operations are survived,
# harmful ones stop us with the reason and who did it. Prints a table and exits 1 on any difference.
#
#   scripts/foreign.sh [options of tests/foreign/check.py]
#   scripts/foreign.sh install           only prepare the cache
#
# Uses MEDALLION_BIN, or the binary that the tests were built with. The virtual environment lies in MEDALLION_CACHE.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
foreign=$project/tests/foreign
cache=${MEDALLION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/medallion}
home=$cache/foreign/$(sha256sum <"$foreign/requirements.txt" | cut -c1-16)
target=${CARGO_TARGET_DIR:-$project/target}
bin=${MEDALLION_BIN:-$target/debug/medallion}

say() { printf 'foreign.sh: %s\n' "$*" >&2; }

install() {
    [[ -e $home/COMPLETE ]] && return
    command -v python3 >/dev/null && python3 -c 'import ensurepip' 2>/dev/null || {
        say "python3 with venv is missing: apt-get install python3 python3-venv"
        exit 1
    }
    say "preparing $home (once)"
    rm -rf "$home"
    mkdir -p "$home"
    python3 -m venv "$home/venv"
    "$home/venv/bin/pip" install -q --disable-pip-version-check -r "$foreign/requirements.txt" >&2
    touch "$home/COMPLETE"
}

install
[[ ${1:-} == install ]] && exit 0
[[ -x $bin ]] || { say "there is no $bin: run \`cargo test --locked --no-run\` first, or set MEDALLION_BIN"; exit 1; }
export PYTHONPATH=$foreign PYTHONDONTWRITEBYTECODE=1 TZ=UTC
exec "$home/venv/bin/python" "$foreign/check.py" --project "$project" --medallion "$bin" "$@"
