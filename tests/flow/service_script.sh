# Runs as root in the machine of tests/support/machine.sh, beside its systemd. Leaves facts in /result/facts, `name: value`.
systemd-sysusers edge-runtime.conf
systemd-tmpfiles --create edge-runtime.conf
D=/run/machine-units/edge-runtime.service.d
SHARE=/opt/edge-runtime/current/share/edge-runtime
CONFIG=/etc/edge-runtime/config.yaml
mkdir -p $D

fact() { printf '%s: %s\n' "$1" "$2" >>/result/facts; }
show() { systemctl show edge-runtime -P "$1"; }
state() { echo "$(show ActiveState) exit $(show ExecMainStatus) restarts $(show NRestarts)"; }
begin() { systemctl daemon-reload; systemctl reset-failed; systemctl start edge-runtime; fact "$1" "$? $(state)"; }
wait_for() { # 60 s at most for a command to succeed
    for _ in $(seq 300); do if "$@"; then return 0; fi; sleep 0.2; done
    return 1
}
main_pid() { show MainPID; }
metric() {
    /opt/edge-runtime/current/bin/python -c 'import urllib.request; print(urllib.request.urlopen("http://127.0.0.1:9464/metrics").read().decode())' |
        awk -v name="$1" '$1 == name {print $2}'
}
reloaded() { is_running && [ "$(metric 'edge_configuration_reloads_total{outcome="applied"}')" = 1.0 ]; }
is_running() { [ "$(show SubState)" = running ]; }
is_new_and_active() { is_running && [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ]; }
delivered() { [ "$(find /var/lib/edge-runtime/out -name '*-seg.dcm' | wc -l)" = "$1" ]; }

begin "without engines"
cp /result/site.yaml $CONFIG
systemd-tmpfiles --create edge-runtime.conf
cp -r /result/engines/bright /var/lib/edge-runtime/engines/
chown -R edge-runtime: /var/lib/edge-runtime/engines
sed -i 's/reserve_bytes/reserv_bytes/' $CONFIG
begin "wrong configuration"
sed -i 's/reserv_bytes/reserve_bytes/; s/trusted_keys: .*]/trusted_keys: []/' $CONFIG
begin "unsigned engine"
cp /result/site.yaml $CONFIG

begin "start"
[ "$(show ActiveState)" = active ] || { journalctl --no-pager -u edge-runtime | tail -20; exit 1; }
for key in NoNewPrivs CapEff CapBnd Seccomp; do fact $key "$(awk "/^$key:/ {print \$2}" /proc/"$(main_pid)"/status)"; done
storescu -aec EDGE +sd 127.0.0.1 11112 /result/series/plain
storescu -aec EDGE -xt +sd 127.0.0.1 11112 /result/series/jpeg-ls
storescu -aec EDGE -xs +sd 127.0.0.1 11112 /result/series/jpeg
wait_for delivered 3
fact "delivered" $?

before=$(main_pid)
sed -i 's/complete_after_seconds: 0.5/complete_after_seconds: 0.6/' $CONFIG
systemctl reload edge-runtime
code=$?
wait_for reloaded # systemd does not wait for the daemon's answer
fact "reload" "$code $(state)"
fact "reloads applied" "$(metric 'edge_configuration_reloads_total{outcome="applied"}')"
sed -i 's/reserve_bytes/reserv_bytes/' $CONFIG
systemctl reload edge-runtime
fact "reload of a wrong file" "$? $(state)"
sed -i 's/reserv_bytes/reserve_bytes/' $CONFIG
[ "$(main_pid)" = "$before" ]
fact "same process after reloads" $?

printf '[Service]\nRestartSec=1\nWatchdogSec=3\n' >$D/quick.conf
systemctl daemon-reload
systemctl restart edge-runtime
before=$(main_pid)
kill -STOP "$before"
wait_for is_new_and_active "$before"
fact "after the supervisor stood still" "$? $(state)"
before=$(main_pid)
kill -KILL "$before"
wait_for is_new_and_active "$before"
fact "after the supervisor was killed" "$? $(state)"
group=/sys/fs/cgroup$(show ControlGroup)
systemctl stop edge-runtime
fact "stop" "$? $(state)"
fact "processes left" "$(find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | wc -l)"
rm $D/quick.conf

cat >/run/probe.py <<'P'
import os
for path in ("/dev/null", "/dev/nvmap", "/dev/other"):
    try:
        os.close(os.open(path, os.O_RDWR))
        print("opened", end=" ")
    except OSError as error:
        print(error.strerror.replace(" ", "-"), end=" ")
try:
    open("/var/lib/edge-runtime/engines/written", "w")
    print("written")
except OSError as error:
    print(error.strerror.replace(" ", "-"))
P
probe() { # what a process in this sandbox may open
    { printf '[Unit]\n'; sed -n '/^\[Service\]/,$p' /run/machine-units/edge-runtime.service |
        sed 's/^Type=.*/Type=oneshot/;/^Exec/d;/^WatchdogSec/d;/^Restart/d;/^NotifyAccess/d'; } >/run/machine-units/probe.service
    sed -i 's,^\[Service\],&\nStandardOutput=truncate:/run/probed\nExecStart=/opt/edge-runtime/current/bin/python /run/probe.py,' /run/machine-units/probe.service
    mkdir -p /run/machine-units/probe.service.d
    rm -f /run/machine-units/probe.service.d/* /run/probed
    cp $D/* /run/machine-units/probe.service.d/ 2>/dev/null
    systemctl daemon-reload
    systemctl start probe
    fact "$1" "$(cat /run/probed)"
}
probe "sandbox"
for name in gpu network port-104; do
    rm -f $D/*
    cp $SHARE/drop-ins/$name.conf $D/
    [ $name != port-104 ] || sed -i 's/port: 11112/port: 104/' $CONFIG
    begin "with $name"
    [ $name != gpu ] || probe "sandbox with gpu"
    systemctl stop edge-runtime
done
journalctl --no-pager -u edge-runtime -o cat
fact "end" 0
