#!/usr/bin/env bash
# A soak on a real Apache Kafka: a producer keeps sending while the program, as one process or as three, is killed, paused, told to
# end, maintained and replayed at seeded random times. Memory and open files of every process are sampled and have ceilings.
# At the end: `audit`; bronze against what Kafka's own consumer reads; silver and gold against an undisturbed run over that bronze.
#
#   scripts/soak.sh [SECONDS]      default 120; 7200 before a release
#
# Settings (environment): MEDALLION_BIN, MEDALLION_SEED (which dice fall; printed, give it again to replay), MEDALLION_SOAK_RATE
# (1000 events a second), MEDALLION_SOAK_PARTITIONS (6), MEDALLION_SOAK_KAFKA_PORT (29092), MEDALLION_SOAK_DIR (a new temporary
# directory, removed at the end), and the ceilings, of the debug build: MEDALLION_SOAK_RSS_MIB (768: resident memory of any process at
# its peak, all layers in one included), MEDALLION_SOAK_FDS (128: its open files), MEDALLION_SOAK_SLOPE (64: MiB an hour by which resident
# memory may grow from one process to the next of its kind, over the later two thirds of a soak of an hour or more).
set -Eeuo pipefail

SLOPE_FROM=3600
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$project/target}
bin=${MEDALLION_BIN:-$target/debug/medallion}
seconds=${1:-120}
seed=${MEDALLION_SEED:-$((EPOCHSECONDS % 32768))}
rate=${MEDALLION_SOAK_RATE:-1000}
partitions=${MEDALLION_SOAK_PARTITIONS:-6}
rss_max=${MEDALLION_SOAK_RSS_MIB:-768}
fds_max=${MEDALLION_SOAK_FDS:-128}
slope_max=${MEDALLION_SOAK_SLOPE:-64}
export MEDALLION_KAFKA_PORT=${MEDALLION_SOAK_KAFKA_PORT:-29092}
export MEDALLION_KAFKA_CONTROLLER_PORT=$((MEDALLION_KAFKA_PORT + 1))
export KAFKA_BROKERS=127.0.0.1:$MEDALLION_KAFKA_PORT
# Nothing of whoever starts the soak may reach the program.
unset MEDALLION_FAILPOINT MEDALLION_CLOCK_OFFSET MEDALLION_LAKE MEDALLION_LOG
RANDOM=$seed

say() { printf 'soak: %s\n' "$*"; }
fail() { printf 'soak: FAILED: %s\n' "$*" >&2; exit 1; }
# Rolled into a variable: a subshell would roll the same number again and again.
roll() { printf -v "$1" '%d' "$(($2 + RANDOM % ($3 - $2 + 1)))"; }

[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "$seconds is no number of seconds: scripts/soak.sh [SECONDS]"
[[ -x $bin ]] || fail "no program at $bin: run \`cargo build\`, or set MEDALLION_BIN"
work=${MEDALLION_SOAK_DIR:-}
made=
if [[ -z $work ]]; then
    work=$(mktemp -d "${TMPDIR:-/tmp}/medallion-soak.XXXXXX")
    made=$work
fi
mkdir -p "$work"
work=$(cd "$work" && pwd)
export MEDALLION_KAFKA_DIR=$work/kafka
log=$work/medallion.log
samples=$work/samples
lake=$work/soak/lake
again="MEDALLION_SEED=$seed MEDALLION_SOAK_RATE=$rate MEDALLION_SOAK_PARTITIONS=$partitions scripts/soak.sh $seconds"

# The processes by layer (`all` where one does everything), and the others that must not outlive this script.
declare -A pids=() born=()
producer=
helper=
mode=
kills=0 pauses=0 terms=0 maintained=0 replayed=0 helper_kills=0 switches=0 sampled=0

finish() {
    local code=$? pid
    for pid in "${pids[@]}" $producer $helper; do
        kill -CONT "$pid" 2>/dev/null || true
        kill -KILL "$pid" 2>/dev/null || true
    done
    "$here/kafka.sh" stop || true
    if ((code != 0)); then
        printf 'soak: again: %s\nsoak: files in %s, the last log lines:\n' "$again" "$work" >&2
        tail -n 30 "$log" >&2 2>/dev/null || true
    elif [[ -n $made ]]; then
        rm -rf "$made"
    fi
    exit "$code"
}
trap finish EXIT
trap 'printf "soak: line %s: \`%s\` exited with %s\n" "$LINENO" "$BASH_COMMAND" "$?" >&2' ERR

# A copy of the declarations with commits so small that a kill lands among many, and with a memory of keys that ends: state that
# grows with the data would hide a leak.
new_project() {
    local to=$work/$1
    mkdir -p "$to/data"
    cp -R "$project/layers" "$project/schemas" "$project/medallion.toml" "$to/"
    cp "$project"/data/*.csv "$to/data/"
    sed -i -e 's/^max_rows = .*/max_rows = 20_000/' -e 's/^max_delay = .*/max_delay = "200ms"/' "$to"/layers/*/bronze.toml
    sed -i -e 's/^within = .*/within = "2m"/' "$to/layers/view_log/silver.toml"
    grep -q '^max_delay = "200ms"$' "$to/layers/view_log/bronze.toml" || fail "view_log/bronze.toml has no max_delay to edit"
    grep -q '^within = "2m"$' "$to/layers/view_log/silver.toml" || fail "view_log/silver.toml has no within to edit"
}

m() {
    local name=$1
    shift
    "$bin" --project "$work/$name" --lake "$work/$name/lake" --metrics off "$@" 2>>"$log"
}

# Starts a layer's process, or all layers in one. Not through m: a signal to a subshell does not reach the program.
start() {
    local layer=$1 words=()
    [[ $layer == all ]] || words=("$layer")
    "$bin" --project "$work/soak" --lake "$lake" --metrics off --log warn run "${words[@]}" -p view_log >/dev/null 2>>"$log" &
    pids[$layer]=$!
    born[$layer]=$SECONDS
}

wanted_layers() { if [[ $mode == one ]]; then echo all; else echo bronze silver gold; fi; }

# Every wanted layer runs; one that ended by itself is a failure.
ensure() {
    local layer code
    for layer in $(wanted_layers); do
        if [[ -z ${pids[$layer]:-} ]]; then
            start "$layer"
        elif ! kill -0 "${pids[$layer]}" 2>/dev/null; then
            code=0
            wait "${pids[$layer]}" || code=$?
            unset "pids[$layer]"
            fail "layer $layer ended by itself with $code"
        fi
    done
}

# Sends the layer a signal and waits for its end, at most 30 s. Returns its exit code.
stop() {
    local layer=$1 sent=$2 pid=${pids[$1]} code=0 until=$((SECONDS + 30))
    kill "-$sent" "$pid" 2>/dev/null || true
    while [[ $sent != KILL ]] && kill -0 "$pid" 2>/dev/null; do
        ((SECONDS < until)) || fail "layer $layer, pid $pid, is still there 30 s after SIG$sent"
        sleep 0.05
    done
    wait "$pid" 2>/dev/null || code=$?
    unset "pids[$layer]"
    return "$code"
}

sample() {
    local layer pid rss fds
    for layer in "${!pids[@]}"; do
        pid=${pids[$layer]}
        rss=$(awk '/^VmHWM/ { high = $2 } /^VmRSS/ { now = $2 } END { print now, high }' "/proc/$pid/status" 2>/dev/null) || continue
        fds=$(find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l)
        # A process that is just ending has neither memory nor files.
        [[ $rss =~ ^[0-9]+\ [0-9]+$ ]] || continue
        printf '%s %s %s %s %s %s\n' "$SECONDS" "$layer" "$pid" "$((SECONDS - born[$layer]))" "$rss" "$fds" >>"$samples"
        sampled=$((sampled + 1))
        ((${rss#* } <= rss_max * 1024)) || fail "layer $layer, pid $pid, took ${rss#* } KiB of memory; the ceiling is $rss_max MiB"
        ((fds <= fds_max)) || fail "layer $layer, pid $pid, has $fds open files; the ceiling is $fds_max"
    done
}

# Lets everything run for so many tenths of a second, looking at the processes.
live() {
    local left=$1
    while ((left > 0)); do
        sleep 0.5
        left=$((left - 5))
        sample
    done
}

one_of() {
    local layers=($(wanted_layers)) at
    roll at 0 $((${#layers[@]} - 1))
    chosen=${layers[at]}
}

# A command beside or instead of the layers, now and then killed. Returns its exit code, 137 where it was killed.
beside() {
    local mortal delay code=0
    roll mortal 1 3
    roll delay 1 15
    "$bin" --project "$work/soak" --lake "$lake" --metrics off --log warn "$@" >/dev/null 2>>"$log" &
    helper=$!
    if ((mortal == 1)); then
        sleep "$(printf '%d.%d' $((delay / 10)) $((delay % 10)))"
        kill -KILL "$helper" 2>/dev/null || true
    fi
    wait "$helper" 2>/dev/null || code=$?
    helper=
    ((code != 137)) || helper_kills=$((helper_kills + 1))
    return "$code"
}

do_maintain() {
    local code=0
    # It may lose against a writer, which is told as 1 and mended by the next one.
    beside maintain -p view_log --target-mib 8 || code=$?
    case $code in 0 | 1 | 137) maintained=$((maintained + 1)) ;; *) fail "maintain exited with $code" ;; esac
}

do_replay() {
    local layer what code=0 tries=0
    roll what 0 1
    [[ $what == 0 ]] && what=silver || what=gold
    # Bronze may go on; whoever writes what is replayed may not.
    for layer in "${!pids[@]}"; do
        [[ $layer == bronze || ($what == gold && $layer == silver) ]] || stop "$layer" KILL || true
    done
    until beside replay "$what" -p view_log --yes; do
        code=$?
        ((code == 137)) || fail "replay $what exited with $code"
        ((++tries < 20)) || fail "replay $what was killed 20 times in a row"
    done
    replayed=$((replayed + 1))
}

disturb() {
    local dice code=0 time
    roll dice 1 100
    one_of
    if ((dice <= 50)); then
        stop "$chosen" KILL || true
        kills=$((kills + 1))
    elif ((dice <= 65)); then
        # One that has only begun does not listen yet.
        while ((SECONDS - born[$chosen] < 3)); do live 5; done
        stop "$chosen" TERM || code=$?
        ((code == 0)) || fail "layer $chosen ended with $code on SIGTERM"
        terms=$((terms + 1))
    elif ((dice <= 80)); then
        roll time 1 4
        kill -STOP "${pids[$chosen]}"
        live $((time * 10))
        kill -CONT "${pids[$chosen]}"
        pauses=$((pauses + 1))
    elif ((dice <= 90)); then
        do_maintain
    elif ((dice <= 96)); then
        do_replay
    else
        switch_mode
    fi
}

switch_mode() {
    local layer
    for layer in "${!pids[@]}"; do stop "$layer" KILL || true; done
    [[ $mode == one ]] && mode=three || mode=one
    switches=$((switches + 1))
}

table_ready() { compgen -G "$lake/view_log/$1/_delta_log/*.json" >/dev/null; }

# MiB an hour by which memory grows: least squares, each layer about its own mean, over processes old enough to have opened their
# state.
slope() {
    awk -v from="$(($1 / 3))" '$1 >= from && $4 >= 5 { n[$2]++; x[$2] += $1; y[$2] += $5; xx[$2] += $1 * $1; xy[$2] += $1 * $5 }
        END { for (k in n) { both += xy[k] - x[k] * y[k] / n[k]; own += xx[k] - x[k] * x[k] / n[k] }
              printf "%.1f", (own > 0 ? both / own * 3600 / 1024 : 0) }' "$samples"
}

# The whole topic as Kafka's own consumer prints it, a file per partition.
read_topic() {
    local partition
    mkdir -p "$work/topic"
    for ((partition = 0; partition < partitions; partition++)); do
        "$here/kafka.sh" tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$KAFKA_BROKERS" --topic view_log \
            --partition "$partition" --offset earliest --timeout-ms 10000 \
            --formatter-property print.partition=true --formatter-property print.offset=true \
            --formatter-property print.key=true --formatter-property 'null.literal=\N' \
            --formatter-property key.deserializer=org.apache.kafka.common.serialization.BytesDeserializer \
            --formatter-property value.deserializer=org.apache.kafka.common.serialization.BytesDeserializer \
            >"$work/topic/$partition" 2>>"$work/consumer.log" || fail "Kafka's consumer exited with $?, see $work/consumer.log"
    done
}

audit() {
    m "$1" audit -p view_log >"$work/audit.txt" || { cat "$work/audit.txt"; fail "audit of $1 exited with $?"; }
    tail -n 1 "$work/audit.txt"
}

say "seed $seed, $seconds s, $rate events/s over $partitions partitions, work in $work"
say "ceilings: $rss_max MiB and $fds_max open files a process, $slope_max MiB/h from $SLOPE_FROM s on"
say "again: $again"
"$here/readers.sh" install
new_project soak
"$here/kafka.sh" start
count=$((seconds * rate))
roll mode 0 1
((mode == 0)) && mode=one || mode=three
"$bin" --project "$work/soak" produce --topic view_log --brokers "$KAFKA_BROKERS" --partitions "$partitions" --count "$count" \
    --rate "$rate" --event-rate "$rate" --seed "$seed" --late 0.001 >/dev/null 2>>"$log" &
producer=$!
SECONDS=0
until "$here/kafka.sh" tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BROKERS" --list | grep -qx view_log; do
    ((SECONDS < 60)) || fail "no topic after 60 s"
    sleep 0.2
done
ensure
until table_ready gold/views_per_minute; do
    ((SECONDS < 120)) || fail "no gold table after 120 s"
    ensure
    live 5
done
say "running as $mode"

while ((SECONDS < seconds)); do
    ensure
    roll tenths 5 40
    live "$tenths"
    ensure
    disturb
done
said=$SECONDS
code=0
wait "$producer" || code=$?
producer=
((code == 0)) || fail "produce exited with $code"
ensure
live 20
for layer in "${!pids[@]}"; do
    stop "$layer" TERM || fail "layer $layer ended with $? on SIGTERM"
done
m soak run -p view_log --once --close-windows >/dev/null || fail "the last run exited with $?"
commits=$(find "$lake" -path '*/_delta_log/*.json' | wc -l)
found=$(audit soak)
say "$kills kills, $terms ends by SIGTERM, $pauses pauses, $maintained maintenances and $replayed replays ($helper_kills of these killed), $switches changes between one process and three"
say "$commits commits, $sampled looks at the processes"
awk '{ if ($6 > high) high = $6; if ($7 > fds) fds = $7 }
    END { printf "soak: at most %.0f MiB resident and %d open files\n", high / 1024, fds }' "$samples"
grown=$(slope "$said")
[[ $grown =~ ^-?[0-9]+\.[0-9]$ ]] || fail "the slope of memory is no number: $grown"
((said >= SLOPE_FROM)) && judged="the ceiling is $slope_max" || judged="judged from $SLOPE_FROM s on"
say "slope $grown MiB/h after warm-up, $judged"
if ((said >= SLOPE_FROM)); then
    awk -v grown="$grown" -v max="$slope_max" 'BEGIN { exit !(grown <= max) }' || fail "memory grows by $grown MiB/h; the ceiling is $slope_max"
fi
say "audit: $found"
((kills > 0 || seconds < 60)) || fail "nothing was killed: another seed or more seconds, please"
read_topic
"$here/readers.sh" python "$project/tests/readers/bronze_is_topic.py" "$lake" view_log "$work"/topic/* ||
    fail "bronze is not what the topic holds"
new_project twin
mkdir -p "$work/twin/lake/view_log"
cp -R "$lake/view_log/bronze" "$work/twin/lake/view_log/"
m twin run silver -p view_log --once >/dev/null || fail "run silver on the twin exited with $?"
m twin run gold -p view_log --once >/dev/null || fail "run gold on the twin exited with $?"
"$here/readers.sh" python "$project/tests/readers/compare_lakes.py" "$lake" "$work/twin/lake" view_log --project "$work/soak" ||
    fail "silver or gold is not that of an undisturbed run"
say "ok: seed $seed, $count records, $kills kills"
