#!/usr/bin/env bash
# One Apache Kafka node for tests, on 127.0.0.1 only.
#
#   scripts/kafka.sh install            copy the jars into the cache (once per machine)
#   scripts/kafka.sh start [--keep]     start on fresh data, or on the data of the last start; prints bootstrap=HOST:PORT
#   scripts/kafka.sh stop               stop what start started
#   scripts/kafka.sh status             exit 0 when the broker answers
#   scripts/kafka.sh tool CLASS ARGS    run a Java tool, such as org.apache.kafka.tools.TopicCommand
#
# Settings (environment): MEDALLION_KAFKA_PORT (19092), MEDALLION_KAFKA_CONTROLLER_PORT (19093), MEDALLION_KAFKA_DIR
# (.kafka in the project), MEDALLION_KAFKA_PROPERTIES (a file of server properties to add), MEDALLION_CACHE
# (~/.cache/medallion), MEDALLION_KAFKA_HEAP (512m).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$here")
cache=${MEDALLION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/medallion}/kafka
dir=${MEDALLION_KAFKA_DIR:-$project/.kafka}
port=${MEDALLION_KAFKA_PORT:-19092}
controller_port=${MEDALLION_KAFKA_CONTROLLER_PORT:-19093}
heap=${MEDALLION_KAFKA_HEAP:-512m}
bootstrap=127.0.0.1:$port
# A broker started before its pom changed must not run on old jars.
libs=$cache/$(sha256sum "$here/kafka/pom.xml" | cut -c1-16)

say() { printf '%s\n' "$*" >&2; }
fail() { say "kafka.sh: $*"; exit 1; }

need() {
    local program=$1 package=$2
    command -v "$program" >/dev/null && return
    say "kafka.sh: $program is missing, installing $package"
    command -v apt-get >/dev/null || fail "$program is missing and there is no apt-get: install $package by hand"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >&2
}

install() {
    need java default-jre-headless
    [[ -e $libs/COMPLETE ]] && return
    need mvn maven
    say "kafka.sh: copying Apache Kafka's jars to $libs"
    local part
    mkdir -p "$cache"
    part=$(mktemp -d "$cache/part.XXXXXX")
    mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$part" >&2
    touch "$part/COMPLETE"
    # Another install may have won the race; its jars are as good.
    mv -T "$part" "$libs" 2>/dev/null || rm -rf "$part"
}

# The pid of the broker this directory's start left, if that process lives and is still that broker.
running() {
    local pid
    [[ -s $dir/pid ]] || return 1
    pid=$(<"$dir/pid")
    kill -0 "$pid" 2>/dev/null || return 1
    # A pid is given again to other programs: only a process on our own configuration is ours.
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$dir/server.properties" || return 1
    printf '%s\n' "$pid"
}

# Nobody wants the tools' chatter: their log goes to warnings only.
tool() {
    java -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$libs/*" "$@"
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# An open port is not a broker yet: ask for real metadata.
answers() {
    port_open "$port" && timeout 20 java -Xmx128m -XX:TieredStopAtLevel=1 \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=off -cp "$libs/*" \
        org.apache.kafka.tools.TopicCommand --bootstrap-server "$bootstrap" --list >/dev/null 2>&1
}

start() {
    local keep=$1 pid deadline
    install
    if pid=$(running); then
        say "kafka.sh: already running with pid $pid"
        printf 'bootstrap=%s\n' "$bootstrap"
        return
    fi
    for p in "$port" "$controller_port"; do
        ! port_open "$p" || fail "port $p of 127.0.0.1 is taken by another program: set MEDALLION_KAFKA_PORT and MEDALLION_KAFKA_CONTROLLER_PORT"
    done
    if [[ $keep == no ]]; then
        # Remove only what an earlier start made, whatever directory the environment names.
        rm -rf "${dir:?}/data" "$dir/server.properties" "$dir/broker.log" "$dir/pid"
    fi
    mkdir -p "$dir"
    sed -e "s|@PORT@|$port|g" -e "s|@CONTROLLER_PORT@|$controller_port|g" -e "s|@DATA@|$dir/data|g" \
        "$here/kafka/server.properties" >"$dir/server.properties"
    # Of a property named twice the last counts.
    if [[ -n ${MEDALLION_KAFKA_PROPERTIES:-} ]]; then
        cat "$MEDALLION_KAFKA_PROPERTIES" >>"$dir/server.properties"
    fi
    if [[ ! -e $dir/data/meta.properties ]]; then
        local id
        id=$(tool kafka.tools.StorageTool random-uuid)
        tool kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
            fail "formatting the data failed, see $dir/format.log"
    fi
    # A session of its own: Ctrl-C in the terminal stops the tests, and their trap stops the broker.
    setsid nohup java "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=info -Dorg.slf4j.simpleLogger.showDateTime=true \
        -cp "$libs/*" kafka.Kafka "$dir/server.properties" >>"$dir/broker.log" 2>&1 </dev/null &
    pid=$!
    printf '%s\n' "$pid" >"$dir/pid"
    deadline=$((SECONDS + 90))
    until answers; do
        kill -0 "$pid" 2>/dev/null || { tail -20 "$dir/broker.log" >&2; fail "the broker ended, see $dir/broker.log"; }
        ((SECONDS < deadline)) || { stop; fail "no answer from $bootstrap after 90 s, see $dir/broker.log"; }
        sleep 0.3
    done
    say "kafka.sh: ready, pid $pid, data in $dir"
    printf 'bootstrap=%s\n' "$bootstrap"
}

stop() {
    local pid
    if ! pid=$(running); then
        say "kafka.sh: not running"
        rm -f "$dir/pid"
        return
    fi
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 150); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
        say "kafka.sh: pid $pid did not end in 15 s, killing it"
        kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$dir/pid"
    say "kafka.sh: stopped"
}

status() {
    local pid
    pid=$(running) || { say "kafka.sh: not running"; exit 1; }
    answers || { say "kafka.sh: pid $pid runs but does not answer on $bootstrap"; exit 1; }
    printf 'bootstrap=%s pid=%s\n' "$bootstrap" "$pid"
}

case ${1:-} in
install) install ;;
start)
    case ${2:-} in
    '') start no ;;
    --keep) start yes ;;
    *) fail "unknown option $2: start takes --keep or nothing" ;;
    esac
    ;;
stop) stop ;;
status) status ;;
tool) shift; install; tool "$@" ;;
*) fail "usage: scripts/kafka.sh install | start [--keep] | stop | status | tool CLASS ARGS..." ;;
esac
