#!/usr/bin/env bash
# Does the suite catch a broken medallion? Each patch of tests/mutants breaks one rule on purpose and names the tests
# that must fail then: scripts/mutants.sh [--check] [name...]
#   --check  only whether every patch still applies (part of CI)
# Prints a table; exit 1 where a mutant survives. A mutant takes a build of the crate, some two minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

field() { sed -n "s/^# $2: //p" "$1"; }

if [[ ${1:-} == --check ]]; then
    for patch in tests/mutants/*.patch; do
        git apply --check "$patch" || { echo "$patch does not apply any more: make it anew" >&2; exit 1; }
        [[ -n $(field "$patch" breaks) && -n $(field "$patch" "caught by") ]] || { echo "$patch does not say what it breaks" >&2; exit 1; }
    done
    echo "mutants: $(ls tests/mutants/*.patch | wc -l) patches apply"
    exit
fi

patches=()
for name in "$@"; do patches+=("tests/mutants/$name.patch"); done
((${#patches[@]})) || patches=(tests/mutants/*.patch)

work=$(mktemp -d)
trap 'git worktree remove --force "$work/tree" 2>/dev/null || true; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/tree" HEAD
survivors=0
printf '%-28s %-9s %s\n' mutant result 'what it breaks'
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    git -C "$work/tree" checkout --quiet -- .
    git -C "$work/tree" apply "$PWD/$patch"
    if ! (cd "$work/tree" && cargo test --locked --lib --test it --no-run) >"$work/log" 2>&1; then
        cat "$work/log" >&2
        echo "$name does not compile" >&2
        exit 1
    fi
    result=survived
    tier=$(field "$patch" tier)
    export MEDALLION_TIER=${tier:-quick}
    # Each test that the patch names must fail.
    for test in $(field "$patch" "caught by"); do
        if (cd "$work/tree" && cargo test --locked --lib --test it -- "$test") >"$work/log" 2>&1; then
            result=survived
            break
        elif grep -q '^test result: FAILED' "$work/log"; then
            result=caught
        fi
    done
    [[ $result == caught ]] || survivors=$((survivors + 1))
    printf '%-28s %-9s %s\n' "$name" "$result" "$(field "$patch" breaks)"
done
exit $((survivors > 0))
