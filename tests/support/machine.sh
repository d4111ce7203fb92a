#!/bin/sh
# A machine with a real systemd, in namespaces of its own: nothing of it outlives the call, and the host's files stay as
# they are. Its root is the host's under an overlay in memory, with the installation of $STAGED put in.
#
# usage: machine.sh SCRIPT RESULT     runs SCRIPT as root beside systemd; RESULT is the folder /result of the machine
# Needs root, overlayfs and cgroup2. Exit code 77: not possible here. Environment: STAGED, BASE_PYTHON, PACKAGES.
set -eu

cannot() { echo "machine: $*" >&2; exit 77; }

if [ "${1-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || cannot "only root can"
    exec unshare --mount --propagation private sh -eu "$0" --inside "$@"
fi
shift

if [ "${1-}" != --alone ]; then
    # A control group of its own, so that its systemd sees and changes no other.
    groups=$2/control-groups
    mkdir "$groups"
    mount -t cgroup2 cgroup2 "$groups" || cannot "no cgroup2"
    own=$groups/machine-$$
    mkdir "$own" || cannot "no control group of its own"
    # The process that removes the group stays outside of it.
    sh -eu -c 'echo $$ >"$1/cgroup.procs"; shift; exec unshare --pid --fork --kill-child --mount --propagation private --uts --ipc --net --cgroup sh -eu "$@"' \
        sh "$own" "$0" --inside --alone "$@" && code=0 || code=$?
    sleep 1 # the last processes leave the groups
    find "$own" -depth -type d -exec rmdir {} + || true
    exit "$code"
fi
shift

memory=$2/memory
mkdir "$memory"
mount -t tmpfs -o size=1g tmpfs "$memory"
mkdir "$memory/upper" "$memory/work" "$memory/root"
root=$memory/root
mount -t overlay -o "lowerdir=/,upperdir=$memory/upper,workdir=$memory/work" overlay "$root" || cannot "no overlayfs on this root"
for folder in etc usr var; do cp -a "$STAGED/$folder/." "$root/$folder/"; done
for pair in "$STAGED/opt/edge-runtime:/opt/edge-runtime" "$BASE_PYTHON:/opt/base-python" "$PACKAGES:/opt/packages" "$2:/result"; do
    mkdir -p "$root${pair##*:}"
    mount --bind "${pair%:*}" "$root${pair##*:}"
done
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
mkdir -m 1777 "$root/dev/shm"
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    number=${node#*:}
    mknod -m 666 "$root/dev/${node%%:*}" c "${number%:*}" "${number#*:}"
done
ln -s /proc/self/fd "$root/dev/fd"
mknod -m 660 "$root/dev/nvmap" c 10 63 # no driver behind it: whoever may open it gets ENXIO
chgrp video "$root/dev/nvmap"
mknod -m 666 "$root/dev/other" c 10 64
touch "$root/dev/console"

# Of the host's units only those that order others; nothing of the host is started.
units=$root/run/machine-units
mkdir -p "$units"
for unit in basic.target multi-user.target sysinit.target network-online.target time-sync.target shutdown.target \
    systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket; do
    cp "/usr/lib/systemd/system/$unit" "$units/"
done
cp "$root/etc/systemd/system/edge-runtime.service" "$units/"
cp "$1" "$root/run/script.sh"
cat >"$units/script.service" <<X
[Unit]
Wants=systemd-journald.service
After=systemd-journald.service
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
TimeoutStartSec=180
StandardOutput=append:/result/said
StandardError=append:/result/said
ExecStart=/bin/bash /run/script.sh
X
cat >"$units/script.target" <<X
[Unit]
Wants=script.service
AllowIsolate=yes
X
cd "$root"
mkdir -p .host
pivot_root . .host
cd /
umount -l /.host
exec env -i container=machine PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/run/machine-units \
    /usr/lib/systemd/systemd --system --unit=script.target --log-target=console --show-status=0
