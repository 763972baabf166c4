#!/usr/bin/env bash
# Reads a lake with four independent readers and compares them.
#
#   scripts/readers.sh LAKE PIPELINE [options of tests/readers/check.py]
#   scripts/readers.sh install           only prepare the cache
#   scripts/readers.sh python ARGS...    run Python in the readers' virtual environment
#
# The virtual environment and the jars lie in MEDALLION_CACHE (~/.cache/medallion), one per set of pinned versions.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readers=$project/tests/readers
cache=${MEDALLION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/medallion}/readers
pins=$(cat "$readers/requirements.txt" "$readers/spark/pom.xml" | sha256sum | cut -c1-16)
home=$cache/$pins

say() { printf '%s\n' "$*" >&2; }

packages() {
    say "readers.sh: installing $*"
    command -v apt-get >/dev/null || { say "readers.sh: there is no apt-get: install $* by hand"; exit 1; }
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >&2
}

install() {
    command -v java >/dev/null || packages default-jre-headless
    [[ -e $home/COMPLETE ]] && return
    command -v mvn >/dev/null || packages maven
    command -v python3 >/dev/null || packages python3 python3-venv
    # Debian's Python can lack ensurepip, without which there is no virtual environment.
    python3 -c 'import ensurepip' 2>/dev/null || packages python3-venv
    say "readers.sh: preparing $home (once; Spark is large)"
    rm -rf "$home"
    mkdir -p "$home"
    python3 -m venv "$home/venv"
    "$home/venv/bin/pip" install -q --disable-pip-version-check -r "$readers/requirements.txt" >&2
    # pyspark brings Spark and all else that Delta needs.
    mvn -q -B -f "$readers/spark/pom.xml" dependency:copy-dependencies \
        -DincludeGroupIds=io.delta,io.unitycatalog -DoutputDirectory="$home/jars" >&2
    touch "$home/COMPLETE"
}

# No reader may lean on the machine's time zone.
export TZ=America/New_York
export SPARK_LOCAL_IP=127.0.0.1
export PYTHONPATH=$readers PYTHONDONTWRITEBYTECODE=1

case ${1:-} in
'' | -h | --help)
    say "usage: scripts/readers.sh LAKE PIPELINE [--project DIR] [--readers deltalake,polars,duckdb,spark] | install | python ARGS..."
    exit 2
    ;;
install) install ;;
python)
    shift
    install
    exec "$home/venv/bin/python" "$@"
    ;;
*)
    install
    exec "$home/venv/bin/python" "$readers/check.py" --project "$project" --jars "$home/jars" "$@"
    ;;
esac
