"""What the daemon does when it cannot start, and when it is killed."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from support.pacs import StubPacs, wait_until
from support.site import ball_series, build_engine, save_series, send, send_series, write_config

from benchmarks.daemon import Daemon

pytestmark = pytest.mark.peer
ROLES = ("receive", "infer", "report", "deliver")


def states(daemon):
    return [job["state"] for job in daemon.jobs()]


def run_once(daemon):
    """Start a daemon that must refuse to run; its exit code and what it said."""
    done = subprocess.run(daemon.command(), capture_output=True, timeout=60, check=False)
    return done.returncode, done.stderr.decode()


def folder(path):
    return [{"name": "disk", "type": "folder", "path": str(path)}]


# -- it says no in one clear line ------------------------------------------------------------------------------------


def test_an_unknown_key_ends_with_78_and_names_line_key_and_suggestion(tmp_path, engines):
    config = write_config(tmp_path / "site.yaml", engines, folder(tmp_path / "out"), complete_after_secs=3)
    code, said = run_once(Daemon(config, tmp_path / "spool"))
    assert code == 78
    assert "complete_after_secs" in said and "complete_after_seconds" in said and "site.yaml:" in said
    assert "Traceback" not in said


def test_a_configuration_that_cannot_be_read_ends_with_78(tmp_path):
    code, said = run_once(Daemon(tmp_path / "absent.yaml", tmp_path / "spool"))
    assert code == 78 and len(said.strip().splitlines()) == 1 and "absent.yaml" in said


@pytest.mark.parametrize("file_name", ["engine.onnx", "passport.json", "golden.npz"])
def test_one_flipped_byte_of_an_engine_ends_with_69(tmp_path, file_name):
    engines = build_engine(tmp_path / "engines")
    path = engines / "bright" / "onnxruntime-fp32" / file_name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    config = write_config(tmp_path / "site.yaml", engines, folder(tmp_path / "out"))
    code, said = run_once(Daemon(config, tmp_path / "spool"))
    assert code == 69
    assert "bright" in said and "edge-convert build" in said and "Traceback" not in said


def test_a_missing_engine_ends_with_69(tmp_path, engines):
    stages = [{"name": "find", "engine": "absent"}]
    config = write_config(tmp_path / "site.yaml", engines, folder(tmp_path / "out"), stages=stages)
    code, said = run_once(Daemon(config, tmp_path / "spool"))
    assert code in (69, 78) and "absent" in said and "Traceback" not in said


def test_a_port_in_use_ends_with_1_and_names_it(tmp_path, engines, daemon):
    config = write_config(tmp_path / "two.yaml", engines, folder(tmp_path / "out2"))
    second = Daemon(config, tmp_path / "spool2", [f"receive.dicom.port={daemon.dicom_port}"])
    code, said = run_once(second)
    assert code == 1 and str(daemon.dicom_port) in said and "Traceback" not in said


def test_a_spool_that_cannot_be_written_ends_with_1_and_names_it(tmp_path, engines):
    mount = tmp_path / "read-only"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(mount)], check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        config = write_config(tmp_path / "site.yaml", engines, folder(tmp_path / "out"))
        code, said = run_once(Daemon(config, mount, log=tmp_path / "log"))
    finally:
        subprocess.run(["umount", str(mount)], check=True)
    assert code == 1 and str(mount) in said and "Traceback" not in said


def test_a_second_daemon_on_the_same_spool_ends_with_1(tmp_path, engines, daemon):
    config = write_config(tmp_path / "two.yaml", engines, folder(tmp_path / "out2"))
    code, said = run_once(Daemon(config, daemon.spool, log=tmp_path / "second.log"))
    assert code == 1 and "lock" in said and "Traceback" not in said


# -- kill -9 -----------------------------------------------------------------------------------------------------------


def results_of(pacs):
    """SOP Instance UID -> the set of hashes of what was delivered under it."""
    found = {}
    for uid, data in pacs.received:
        found.setdefault(uid, set()).add(hashlib.sha256(data).hexdigest())
    return found


@pytest.mark.parametrize("victim", [*ROLES, "all"])
def test_killing_at_any_moment_loses_nothing_and_changes_no_result(tmp_path, engines, victim):
    rng = random.Random(victim)
    with StubPacs().running() as pacs:
        peer = {"type": "dicom", "ae_title": "ANY", "host": "127.0.0.1", "port": pacs.port, "retry_seconds": 0.1}
        config = write_config(tmp_path / "site.yaml", engines, [{"name": "pacs", **peer}])
        daemon = Daemon(config, tmp_path / "spool")
        with daemon:
            daemon.wait_ready()
            acknowledged = 0
            for n in range(4):
                save_series(ball_series(f"{victim}-{n}"), tmp_path / f"in-{n}")
                sender = subprocess.Popen(
                    ["storescu", "-aec", "EDGE", "+sd", "127.0.0.1", str(daemon.dicom_port), str(tmp_path / f"in-{n}")],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                time.sleep(rng.choice([rng.uniform(0, 0.15), rng.uniform(0.3, 1.5)]))
                kill(daemon, victim)
                sender.wait(60)
                daemon.wait_ready()
                assert send(tmp_path / f"in-{n}", daemon.dicom_port).returncode == 0  # what was refused, once more
                acknowledged += 1
            wait_until(lambda: states(daemon).count("delivered") >= acknowledged or revive(daemon), 60)
            wait_until(lambda: not {"collecting", "pending", "running", "concluded"} & set(states(daemon)), 30)
            newest = {}
            for job in daemon.jobs():
                series = tuple(sorted(image_ids(daemon, job["id"])))
                newest[series] = job["state"]
            assert "parked" not in newest.values()
        found = results_of(pacs)
    reports = [uid for uid, digests in found.items() if digests]
    assert len(reports) >= 3 * acknowledged
    assert all(len(digests) == 1 for digests in found.values())


def revive(daemon):
    """What was at work twice when it was killed is parked, by design: a person retries it."""
    for job in daemon.jobs():
        if job["state"] == "parked":
            retry(daemon, job["id"])


def retry(daemon, job_id):
    sets = [part for override in daemon.overrides for part in ("--set", override)]
    command = [sys.executable, "-m", "edge_runtime.cli", "jobs", "retry", str(daemon.config), job_id, *sets]
    assert subprocess.run(command, check=False).returncode == 0


def image_ids(daemon, job_id):
    return json.loads((daemon.spool / "jobs" / job_id / "job.json").read_text())["instances"]


def kill(daemon, victim):
    if victim == "all":
        daemon.kill_all()
        daemon.start()
        return
    pid = daemon.role_pids().get(victim)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: daemon.role_pids().get(victim) not in (None, pid), 10)


def test_deleting_the_journal_loses_nothing_and_delivers_no_other_bytes(tmp_path, engines):
    with StubPacs().running() as pacs:
        peer = {"type": "dicom", "ae_title": "ANY", "host": "127.0.0.1", "port": pacs.port}
        config = write_config(tmp_path / "site.yaml", engines, [{"name": "pacs", **peer}])
        with Daemon(config, tmp_path / "spool") as daemon:
            daemon.wait_ready()
            send_series(ball_series("done"), tmp_path / "done", daemon)
            wait_until(lambda: states(daemon) == ["delivered"], 30)
            sent = len(pacs.received)
            send_series(ball_series("open"), tmp_path / "open", daemon)
            daemon.kill_all()
            for path in daemon.spool.glob("journal.sqlite*"):
                path.unlink()
            daemon.start()
            daemon.wait_ready()
            wait_until(lambda: states(daemon) == ["delivered", "delivered"], 30)
        assert len(pacs.received) == 2 * sent
        assert all(len(digests) == 1 for digests in results_of(pacs).values())


def test_a_study_that_ends_its_worker_twice_is_parked_and_the_next_one_is_analysed(tmp_path, slow_engines):
    out = tmp_path / "out"
    config = write_config(tmp_path / "site.yaml", slow_engines, folder(out))
    with Daemon(config, tmp_path / "spool") as daemon:
        daemon.wait_ready()
        send_series(ball_series("poison"), tmp_path / "in", daemon)
        for attempt in (1, 2):
            at_work = ("running", attempt)
            wait_until(lambda at=at_work: at in [(j["state"], j["attempts"]) for j in daemon.jobs()], 60)
            pid = daemon.role_pids()["infer"]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: daemon.role_pids().get("infer") not in (None, pid), 20)
        wait_until(lambda: states(daemon) == ["parked"], 60)
        wait_until(lambda: daemon.metric("edge_jobs_parked_total", reason="attempts") == 1)
        assert daemon.metric("edge_role_restarts_total", role="infer", blame="item") == 2
        send_series(ball_series("healthy"), tmp_path / "in2", daemon)
        wait_until(lambda: sorted(states(daemon)) == ["delivered", "parked"], 60)
        (parked,) = [job["id"] for job in daemon.jobs() if job["state"] == "parked"]
        retry(daemon, parked)
        wait_until(lambda: states(daemon) == ["delivered", "delivered"], 60)


def test_when_the_restart_budget_is_spent_images_are_still_received_and_readiness_says_why(daemon, tmp_path):
    for _ in range(6):
        wait_until(lambda: "infer" in daemon.role_pids(), 20)
        os.kill(daemon.role_pids()["infer"], signal.SIGKILL)
        time.sleep(0.3)
    wait_until(lambda: "infer" not in daemon.role_pids() and "budget spent" in daemon.log.read_text(), 20)
    status, body = daemon.get("/readyz")
    assert status == 503
    assert [reason["role"] for reason in json.loads(body)] == ["infer"]
    assert daemon.metric("edge_role_budget_spent_total", role="infer") == 1
    wait_until(lambda: [daemon.metric("edge_role_ready", role=role) for role in ("infer", "receive")] == [0, 1])
    assert daemon.get("/livez")[0] == 200
    send_series(ball_series("kept"), tmp_path / "in", daemon)
    assert len(list((daemon.spool / "instances").rglob("*.dcm"))) == 8


def test_a_role_that_hangs_is_replaced(daemon, out, tmp_path):
    pid = daemon.role_pids()["infer"]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: daemon.role_pids().get("infer") not in (None, pid), 40)
    daemon.wait_ready()
    send_series(ball_series("after"), tmp_path / "in", daemon)
    wait_until(lambda: list(out.glob("*.json")), 30)


def test_roles_end_within_two_seconds_of_the_supervisors_death(daemon):
    pids = daemon.role_pids()
    assert set(pids) == set(ROLES)
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.process.wait()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/cmdline") and is_role(pid) for pid in pids.values()), 2.5)


def is_role(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"edge_runtime.roles" in file.read()
    except OSError:
        return False
