"""What the daemon does when its accelerator fails: it says why, goes on receiving, and the work is done in the end."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support import failing_device
from support.pacs import wait_until
from support.site import ball_series, send_series, write_config

from benchmarks.daemon import Daemon

pytestmark = [pytest.mark.peer, pytest.mark.slow]
LONG = 60.0


class Site:
    """A daemon whose device fails when told to."""

    def __init__(self, folder, engines, monkeypatch):
        self.folder, self.out = folder, folder / "out"
        self._fault = folder / "fault"
        monkeypatch.setenv("PYTHONPATH", str(Path(failing_device.__path__[0])))
        monkeypatch.setenv("FAILING_DEVICE", str(self._fault))
        destination = {"name": "disk", "type": "folder", "path": str(self.out)}
        self.daemon = Daemon(write_config(folder / "site.yaml", engines, [destination]), folder / "spool")

    def fails(self, where, kind, times="*"):
        new = self._fault.with_suffix(".told")
        new.write_text(f"{where} {kind} {times}")
        new.replace(self._fault)

    def is_mended(self):
        self._fault.unlink()

    @property
    def has_failed(self):
        return not self._fault.exists()

    def send(self, name, series=None):
        send_series(series or ball_series(name), self.folder / name, self.daemon)

    @property
    def answers(self):
        return [json.loads(path.read_text()) for path in self.out.glob("*.json")]

    def reasons(self, role="infer"):
        """What readiness says of a role; None where all is well."""
        status, body = self.daemon.get("/readyz")
        assert status in (200, 503)
        return [one["reason"] for one in json.loads(body) if one["role"] == role]

    def says(self, text):
        return any(text in reason for reason in self.reasons())

    def lost(self, cause):
        return self.daemon.metric("edge_device_lost_total", role="infer", cause=cause)

    def receives(self):
        return self.daemon.metric("edge_role_ready", role="receive") == 1 and self.daemon.get("/livez")[0] == 200


@pytest.fixture
def site(tmp_path, engines, monkeypatch):
    made = Site(tmp_path, engines, monkeypatch)
    yield made
    if made.daemon.process is not None and made.daemon.process.poll() is None:
        made.daemon.stop()


def test_a_failure_in_flight_ends_the_process_and_the_study_is_answered_whole_by_the_next(site):
    """A sticky error, memory that another process took, a failed launch, a kernel that never returns."""
    site.daemon.start()
    site.daemon.wait_ready()
    for number, cause in enumerate(("lost", "memory", "call", "hang"), start=1):
        pid = site.daemon.role_pids()["infer"]
        site.fails("run", cause, 1)
        site.send(cause)
        wait_until(lambda number=number: len(site.answers) == number, LONG)
        assert site.has_failed and site.daemon.role_pids()["infer"] != pid
        assert site.lost(cause) == 1
    assert {answer["complete"] for answer in site.answers} == {True}
    assert {job["attempts"] for job in site.daemon.jobs()} == {1}, "what the device did is no fault of a study"
    log = site.daemon.log.read_text()
    for words in ("CUDA_ERROR_ILLEGAL_ADDRESS", "8,000 bytes were asked", "LAUNCH_OUT_OF_RESOURCES", "device hangs"):
        assert words in log
    assert site.daemon.metric("edge_role_restarts_total", role="infer") == 4


def test_without_memory_for_the_engines_all_is_received_and_the_role_comes_by_itself_when_there_is_some(site):
    site.fails("load", "memory")
    site.daemon.start()
    wait_until(lambda: site.daemon.get("/readyz")[0] == 503 and site.says("8,000 bytes were asked, 10 are free"), LONG)
    assert site.says("CUDA_ERROR_OUT_OF_MEMORY")
    wait_until(site.receives, LONG)
    site.send("kept")
    site.is_mended()
    site.daemon.wait_ready()
    wait_until(lambda: len(site.answers) == 1, LONG)
    assert site.lost("memory") >= 1


def test_a_device_that_is_gone_for_good_leaves_receiving_also_over_a_restart_until_it_is_mended(site):
    """Off the bus in the middle of work; the reason stays, a reload takes up what was mended."""
    site.daemon.start()
    site.daemon.wait_ready()
    site.fails("load", "absent")
    os.kill(site.daemon.role_pids()["infer"], signal.SIGKILL)
    wait_until(lambda: site.says("the driver sees no NVIDIA GPU"), LONG)
    site.send("first")
    assert site.daemon.stop() == 0
    site.fails("load", "target")  # another device was put in
    site.daemon.start()
    wait_until(
        lambda: site.daemon.get("/readyz")[0] == 503 and site.says("built for SM 8.9, this device is SM 8.6"), LONG
    )
    wait_until(lambda: site.daemon.metric("edge_role_budget_spent_total", role="infer") == 1, LONG)
    wait_until(site.receives, LONG)
    site.send("second")
    site.is_mended()
    site.daemon.process.send_signal(signal.SIGHUP)
    site.daemon.wait_ready()
    wait_until(lambda: len(site.answers) == 2, LONG)


def test_where_it_has_never_worked_a_missing_device_ends_the_daemon_with_69_and_says_what_to_do(site):
    site.fails("load", "absent")
    done = subprocess.run(site.daemon.command(), capture_output=True, timeout=LONG, check=False)
    said = done.stderr.decode()
    assert done.returncode == 69
    assert "the driver sees no NVIDIA GPU: see lspci and nvidia-smi" in said and "Traceback" not in said


def test_a_study_at_which_the_device_fails_each_time_is_parked_and_the_others_are_answered(site):
    site.daemon.start()
    site.daemon.wait_ready()
    site.fails("empty", "lost")
    poison = ball_series("poison")
    for image in poison:
        image.PixelData = bytes(len(image.PixelData))  # -1024 HU: the network is given nothing but zeros
    site.send("poison", poison)
    wait_until(lambda: site.lost("lost") >= 2, LONG)  # it is alone
    site.send("healthy")
    wait_until(lambda: len(site.answers) == 1, LONG)
    site.send("also healthy")
    wait_until(lambda: len(site.answers) == 2, LONG)
    wait_until(lambda: sorted(job["state"] for job in site.daemon.jobs())[-1] == "parked", LONG)
    assert site.daemon.metric("edge_role_budget_spent_total", role="infer") == 0
    (parked,) = [job for job in site.daemon.jobs() if job["state"] == "parked"]
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in parked["reason"]
    site.daemon.wait_ready()
