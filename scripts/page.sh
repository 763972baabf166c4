#!/usr/bin/env bash
# What the status page shows, as a browser shows it: a pipeline that reads files with bad and late records in them, and Debian's
# Chromium without a window, at 1280 and at 390 pixels, light and dark.
#
#   well    every text in the page, number by number, is what `medallion status --output json` says
#   hour    so it is with an hour of history, long words and large numbers, and with layers in trouble
#   away    the lake is taken away: page and command say why and what to do next
#   again   the lake is back
#
# Each of them without an error or a warning on the console, a failed request, a request elsewhere, anything that reaches over
# the edge or letters that are hard to read.
#
#   scripts/page.sh
#
# Settings (environment): MEDALLION_BIN; MEDALLION_PAGE_SHOTS, the directory of the screenshots (page under the target directory);
# MEDALLION_CHROMIUM, the browser.
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$project/target}
bin=${MEDALLION_BIN:-$target/debug/medallion}
shots=${MEDALLION_PAGE_SHOTS:-$target/page}
chromium=${MEDALLION_CHROMIUM:-chromium}

fail() { printf 'page: FAILED: %s\n' "$*" >&2; exit 1; }

[[ -x $bin ]] || fail "no program at $bin: run \`cargo test --locked --no-run\`, or set MEDALLION_BIN"
command -v "$chromium" >/dev/null || fail "there is no $chromium: apt-get install chromium"
bin=$(realpath "$bin")
mkdir -p "$shots"
rm -f "$shots"/*.png
work=$(mktemp -d "${TMPDIR:-/tmp}/medallion-page.XXXXXX")

finish() {
    local code=$?
    if ((code != 0)); then
        printf 'page: the last log lines:\n' >&2
        tail -n 20 "$work/medallion.log" >&2 2>/dev/null || true
        # The buses of a desktop are not missed.
        grep -v dbus "$work/chromium.log" | tail -n 5 >&2 || true
    fi
    rm -rf "$work"
    printf 'page: screenshots in %s\n' "$shots"
    exit "$code"
}
trap finish EXIT

# Nothing of whoever starts this may reach the program.
unset "${!MEDALLION_@}" 2>/dev/null || true
export PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
begun=$SECONDS
python3 -m page --project "$project" --work "$work" --shots "$shots" --binary "$bin" --chromium "$chromium"
printf 'page: ok in %s s\n' $((SECONDS - begun))
