# Run by the systemd of boot.sh: what an operator does with the units, and what must come of it.
set -Eeu
# A failure must end the machine, too.
trap 'systemctl exit "$?" --force --force' EXIT
trap 'echo "line $LINENO: $BASH_COMMAND exited with $?"' ERR

say() { echo "schedule: $*"; }
# unit NAME PROPERTY=VALUE...
unit() {
    local name=$1 expected have
    shift
    for expected in "$@"; do
        have=$(systemctl show -p "${expected%%=*}" "$name")
        [[ $have == "$expected" ]] || { echo "$name has $have, not $expected"; return 1; }
    done
}
# within SECONDS COMMAND...
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null; do
        ((SECONDS < until)) || { "$@"; return 1; }
        sleep 0.2
    done
}
starts() { systemctl start "$1"; }
fails() { ! systemctl start "$1" 2>/dev/null; }
status_has() { grep -qE "^$2:\s+$3$" "/proc/$1/status"; }

# The units wait fifteen seconds before a restart; here it is one.
mkdir -p /run/systemd/system/medallion.service.d
printf '[Service]\nRestartSec=1\n' >/run/systemd/system/medallion.service.d/faster.conf
systemctl daemon-reload

starts medallion-once.service
unit medallion-once.service Result=success ExecMainStatus=0
grep -q '"accepted":600' /run/out/medallion-once.log
say "medallion-once.service, confined as it is: success, the summary is in the log"

# A client and a broker on loopback, in one process.
mkdir -p /run/systemd/system/medallion-once.service.d
printf '[Service]\nEnvironment=%s %s %s\nExecStart=\nExecStart=%s\n' MEDALLION_PROJECT=/etc/medallion-demo \
    MEDALLION_LAKE=/var/lib/medallion/demo MEDALLION_CHECKPOINTS=/var/lib/medallion/demo-checkpoints \
    '/usr/local/bin/medallion demo --events 3000' >/run/systemd/system/medallion-once.service.d/demo.conf
systemctl daemon-reload
starts medallion-once.service
unit medallion-once.service Result=success ExecMainStatus=0
grep -q 'audit: ok view_log: 3,000 records' /run/out/medallion-once.log
rm /run/systemd/system/medallion-once.service.d/demo.conf
systemctl daemon-reload
say "the demo with the same confinement: Kafka's client works in it, and the audit is ok"

starts medallion-once.timer
unit medallion-once.timer ActiveState=active
starts medallion.service
within 20 test -e /var/lib/medallion/lake/_locks/view_log.gold.lock
unit medallion-once.timer ActiveState=inactive
pid=$(systemctl show -p MainPID --value medallion.service)
((pid > 1))
status_has "$pid" CapBnd 0000000000000000
status_has "$pid" NoNewPrivs 1
status_has "$pid" Seccomp 2
say "medallion.service: runs without a capability, under a system call filter; the timer is stopped"

sleep 2
fails medallion-once.service
unit medallion-once.service Result=exit-code ExecMainStatus=1
grep -q 'layer bronze of view_log is being written by another process' /run/out/medallion-once.log
say "medallion-once.service beside it: exit code 1, the log says who writes the layer"

kill -KILL "$pid"
within 20 unit medallion.service ActiveState=active NRestarts=1
say "killed: started again"

sleep 2
starts medallion-maintain.service
unit medallion-maintain.service Result=success ExecMainStatus=0
say "medallion-maintain.service beside it: success"

systemctl stop medallion.service
unit medallion.service Result=success ExecMainStatus=0 ActiveState=inactive
say "stopped: SIGTERM, exit code 0"

echo 'broken = 1' >>/etc/medallion/layers/view_log/silver.toml
starts medallion.service || true
within 20 unit medallion.service ActiveState=failed
sleep 3
unit medallion.service ActiveState=failed Result=exit-code ExecMainStatus=4 NRestarts=0
say "a broken declaration: exit code 4, not started again"
say DONE
