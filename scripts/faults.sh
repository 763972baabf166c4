#!/usr/bin/env bash
# The fault suite in tiers: scripts/faults.sh [quick|full|hour|soak]
#   quick  under 2 minutes: a sample of every enumeration; part of `cargo test`
#   full   under 10 minutes: every storage call, every kill point and some pairs
#   hour   several times as many, others by another MEDALLION_SEED, and 20 minutes of random kills on a real broker
#   soak   every variant of every call, every pair of kills, and hours of random kills: scripts/faults.sh soak [seconds]
# Replays: MEDALLION_SEED=N as a failure prints it. Build time is not counted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tier=${1:-quick}
case $tier in quick | full | hour | soak) ;; *) echo "usage: scripts/faults.sh [quick|full|hour|soak [seconds]]" >&2; exit 2 ;; esac

cargo test --locked --test it --no-run
begun=$SECONDS
MEDALLION_TIER=$tier cargo test --locked --test it -- faults:: --nocapture --quiet
echo "fault suite, tier $tier: ok in $((SECONDS - begun)) s"
case $tier in
hour) scripts/soak.sh 1200 ;;
soak) scripts/soak.sh "${2:-14400}" ;;
esac
