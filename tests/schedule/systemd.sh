# For scripts/schedule.sh: the units, checked, and run by a systemd of their own.

step_units() {
    local unit said
    command -v systemd-analyze >/dev/null || fail "systemd-analyze is missing: apt-get install systemd"
    mkdir -p "$work/units"
    cp "$examples"/systemd/* "$work/units/"
    sed -i "s#/usr/local/bin/medallion#$bin#" "$work"/units/*.service
    said=$(systemd-analyze verify --man=no "$work"/units/* 2>&1) || fail "systemd-analyze verify: $said"
    [[ -z $said ]] || fail "systemd-analyze verify: $said"
    for unit in "$work"/units/*.service; do
        # In tenths; a unit that confines nothing has 96.
        systemd-analyze security --no-pager --offline=true --threshold=20 "$unit" >"$log" || fail "${unit##*/} is exposed"
        tail -n 1 "$log"
    done
    # They are confined alike.
    confinement() { sed -n '/^StateDirectory/,/^SystemCallErrorNumber/p' "$examples/systemd/$1"; }
    for unit in medallion-once.service medallion-maintain.service; do
        [[ $(confinement "$unit") == "$(confinement medallion.service)" ]] || fail "$unit is confined in another way"
    done
    say "verified, exposed by less than 2 of 10, confined alike"
}

step_systemd() {
    cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    if ((EUID != 0)) || [[ -z $cgroup ]] || ! unshare --mount --pid --uts --ipc --cgroup --fork true 2>/dev/null; then
        say "left out: needs root, namespaces and cgroup2"
        cgroup=
        return
    fi
    cgroup+=$(sed -n 's/^0:://p' /proc/self/cgroup)
    cgroup=${cgroup%/}/medallion-schedule.$$
    mkdir -p "$work/systemd/out" "$cgroup"
    new_project "$work/systemd/project"
    mkdir -p "$work/systemd/demo/data"
    cp -R "$project"/{layers,schemas} "$work/systemd/demo/"
    cp "$project"/data/*.csv "$work/systemd/demo/data/"
    cp "$project/tests/schedule/drive.sh" "$work/systemd/"
    local code=0
    (
        echo "$BASHPID" >"$cgroup/cgroup.procs"
        exec timeout -k 5 120 unshare --mount --pid --uts --ipc --cgroup --fork --kill-child \
            bash "$project/tests/schedule/boot.sh" "$work/systemd" "$bin" "$examples/systemd"
    ) >"$log" 2>&1 </dev/null || code=$?
    cat "$work/systemd/out/"*.log >>"$log" 2>/dev/null || true
    ((code == 0)) || fail "systemd ended with $code"
    grep -q '^schedule: DONE$' "$work/systemd/out/drive.log" || fail "the units did not do what they should"
    grep '^schedule: ' "$work/systemd/out/drive.log" | grep -v DONE
}
