# For scripts/schedule.sh: the lines of the crontab, as cron runs them.

# cron_environment FILE: its assignments, for env.
cron_environment() { sed -n 's/^\([A-Z_]*\)=\(.*\)$/\1=\2/p' "$1"; }
# cron_commands FILE: what comes after the five times and the user.
cron_commands() { grep -E '^[0-9*]' "$1" | sed -E 's/^([^ ]+ +){6}//'; }

# cron_run COMMAND CODE: as cron would; fails on another exit code. What it printed, and cron would mail, is in the log.
cron_run() {
    local code=0 environment
    mapfile -t environment < <(cron_environment "$work/cron/medallion")
    (cd / && env -i HOME=/nonexistent LOGNAME=medallion "${environment[@]}" /bin/sh -c "$1") >"$log" 2>&1 || code=$?
    ((code == $2)) || fail "cron's \`$1\` exited with $code, not $2"
}
cron_silent() {
    cron_run "$1" 0
    [[ ! -s $log ]] || fail "cron would mail what \`$1\` printed"
}

commits() { find "$work/cron/state/lake" -path '*/_delta_log/*.json' | wc -l; }

step_cron() {
    local once nightly file=$work/cron/medallion
    mkdir -p "$work/cron/state" "$work/cron/bin"
    ln -s "$bin" "$work/cron/bin/medallion"
    new_project "$work/cron/project"
    sed -e "s#/etc/medallion#$work/cron/project#g" -e "s#/var/lib/medallion#$work/cron/state#g" \
        -e "s#/usr/local/bin#$work/cron/bin#" "$examples/cron/medallion" >"$file"
    [[ $(tail -c 1 "$file" | wc -l) == 1 ]] || fail "cron leaves out a last line without an end"
    { read -r once && read -r nightly; } < <(cron_commands "$file")

    cron_silent "$once"
    cron_silent "$nightly"
    "$bin" --project "$work/cron/project" --lake "$work/cron/state/lake" --log error audit -p view_log |
        grep -F '603 records = 600 silver' || fail "the lake of the crontab is not as expected"
    say "two commands with an empty environment: silent, and the lake has what it should"

    # A run that takes longer than five minutes, to cron; and one that someone else has begun.
    local held=$work/cron/state/view_log.cron
    exec 8>>"$held"
    flock 8
    local before
    before=$(commits)
    cron_silent "$once"
    [[ $(commits) == "$before" ]] || fail "\`$once\` ran beside another run of cron"
    exec 8>&-
    exec 8>>"$work/cron/state/lake/_locks/view_log.bronze.lock"
    flock 8
    cron_run "$once" 1
    grep -q 'layer bronze of view_log is being written by another process' "$log" || fail "the error does not say who writes bronze"
    exec 8>&-
    say "two runs of cron at once: the second is left out without a word"
    say "a run beside another process: exit code 1 and a mail"

    echo 'broken = 1' >>"$work/cron/project/layers/view_log/silver.toml"
    cron_run "$once" 4
    grep -q 'unknown key' "$log" || fail "the error does not name the key"
    say "a broken declaration: exit code 4 and a mail"
}
