#!/usr/bin/env bash
# The first process of new mount, pid, uts, ipc and cgroup namespaces: boot.sh WORK BINARY UNITS. Makes a root of its own over
# the host's, installs medallion there as examples/README.md says, and becomes systemd, which runs drive.sh and ends.
set -eu
work=$1 bin=$2 units=$3
mount --make-rprivate /
mkdir "$work/over"
mount -t tmpfs tmpfs "$work/over"
mkdir "$work"/over/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/over/upper,workdir=$work/over/work" "$work/over/root"
root=$work/over/root

# Nothing here may reach the host's kernel settings.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
touch "$root/dev/console"
mount --bind /dev/null "$root/dev/console"
mkdir "$root"/dev/{pts,shm,mqueue,hugepages}
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/run/out"
mount --bind "$work/out" "$root/run/out"

echo 'medallion:x:64999:64999::/nonexistent:/usr/sbin/nologin' >>"$root/etc/passwd"
echo 'medallion:x:64999:' >>"$root/etc/group"
rm -rf "$root"/usr/local/bin/medallion "$root"/etc/medallion{,-demo} "$root/var/lib/medallion"
mkdir -p "$root/usr/local/bin" "$root/var/lib"
cp "$bin" "$root/usr/local/bin/medallion"
cp -R "$work/project" "$root/etc/medallion"
cp -R "$work/demo" "$root/etc/medallion-demo"
cp "$work/drive.sh" "$root/run/drive.sh"
rm -rf "$root"/etc/systemd/system "$root"/etc/systemd/system.conf.d
mkdir -p "$root/etc/systemd/system"
cp "$units"/* "$root/etc/systemd/system/"
# There is no journal, and no boot that units could wait for.
for unit in medallion medallion-once medallion-maintain; do
    mkdir "$root/etc/systemd/system/$unit.service.d"
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nStandardOutput=append:/run/out/%s.log\nStandardError=inherit\n' "$unit" \
        >"$root/etc/systemd/system/$unit.service.d/test.conf"
done
for unit in medallion-once medallion-maintain; do
    mkdir "$root/etc/systemd/system/$unit.timer.d"
    printf '[Unit]\nDefaultDependencies=no\n' >"$root/etc/systemd/system/$unit.timer.d/test.conf"
done
printf '[Unit]\nDefaultDependencies=no\nWants=drive.service\n' >"$root/etc/systemd/system/drive.target"
printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/bash /run/drive.sh\n%s\n%s\n' \
    StandardOutput=append:/run/out/drive.log StandardError=inherit >"$root/etc/systemd/system/drive.service"

mkdir "$root/.host"
pivot_root "$root" "$root/.host"
cd /
umount -l /.host
exec env -i container=schedule PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=drive.target --log-target=null --show-status=no
