"""Full disks under the whole daemon: it refuses, waits and goes on; nothing that was acknowledged is lost."""

import contextlib
import os
import time

import numpy as np
import pytest
from support.dicom_objects import ct_series
from support.hostile import all_states, assert_log_is_clean, encoded, store_bytes, wait_states
from support.mounts import mounted
from support.pacs import wait_until
from support.site import PATIENT_ID, PATIENT_NAME, ball_series, send_series, write_config

from benchmarks.daemon import Daemon

pytestmark = pytest.mark.peer
MB = 1_000_000


def fill(path):
    """Take all the space that is left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


def folder(path):
    return {"name": "disk", "type": "folder", "path": str(path), "retry_seconds": 0.2, "retry_maximum_seconds": 1.0}


def large_series(name, slices=8):
    """2 MB of air in 8 slices."""
    return ct_series(
        np.full((slices, 360, 360), -1000), name=name, spacing_mm=(2.0, 1.0, 1.0), PatientName=PATIENT_NAME,
        PatientID=PATIENT_ID, AccessionNumber="ACC-4711",
    )  # fmt: skip


def test_a_full_spool_refuses_then_deletes_what_is_delivered_and_receives_again(tmp_path, engines):
    config = write_config(tmp_path / "site.yaml", engines, [folder(tmp_path / "out")], results=["json"])
    reserve = "spool.reserve_bytes=12000000"
    with (
        mounted(tmp_path / "small", "size=40m") as disk,
        Daemon(config, disk / "spool", [reserve], tmp_path / "log") as daemon,
    ):
        daemon.wait_ready()
        series, statuses = [], []
        for n in range(40):
            series.append(large_series(f"many-{n}"))
            statuses.append([store_bytes(daemon, one, encoded(one)) for one in series[-1]])
            if 0xA700 in statuses[-1]:
                break
        assert {status for one in statuses for status in one} == {0, 0xA700}
        assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 9 * MB
        wait_until(lambda: daemon.metric("edge_receive_instances_total", result="out_of_resources") > 0)
        wait_until(lambda: daemon.metric("edge_spool_deleted_total", what="originals") > 0, 30)
        assert "retention deleted" in daemon.log.read_text()
        again = large_series("again", slices=2)
        wait_until(lambda: {store_bytes(daemon, one, encoded(one)) for one in again} == {0}, 20)
        wait_states(daemon, again, "delivered")
        for one, answers in zip(series, statuses, strict=True):
            if set(answers) == {0}:
                wait_states(daemon, one, "delivered")
        daemon.wait_ready(20)
        assert_log_is_clean(daemon, series[0])


def test_a_disk_that_something_else_fills_stops_the_work_and_loses_none_of_it(tmp_path, slow_engines):
    out = tmp_path / "out"
    config = write_config(tmp_path / "site.yaml", slow_engines, [folder(out)])
    with (
        mounted(tmp_path / "small", "size=40m") as disk,
        Daemon(config, disk / "spool", log=tmp_path / "log") as daemon,
    ):
        daemon.wait_ready()
        series = [ball_series(f"full-{n}") for n in range(4)]
        for n, one in enumerate(series):
            send_series(one, tmp_path / f"in-{n}", daemon)
        wait_states(daemon, series[0], "running")
        fill(disk / "filler")
        refused = ball_series("refused")
        assert store_bytes(daemon, refused[0], encoded(refused[0])) == 0xA700
        time.sleep(5)
        assert daemon.process.poll() is None and daemon.get("/livez")[0] == 200
        (disk / "filler").unlink()
        for one in series:
            wait_states(daemon, one, "delivered", seconds=60)
        daemon.wait_ready(30)
        assert len(list(out.glob("*.json"))) == 4
        send_series(refused, tmp_path / "refused", daemon)
        wait_states(daemon, refused, "delivered")
        assert_log_is_clean(daemon, refused)


def test_a_daemon_that_starts_on_a_full_disk_finishes_what_it_had_once_there_is_room(tmp_path, slow_engines):
    config = write_config(tmp_path / "site.yaml", slow_engines, [folder(tmp_path / "out")])
    with (
        mounted(tmp_path / "small", "size=40m") as disk,
        Daemon(config, disk / "spool", log=tmp_path / "log") as daemon,
    ):
        daemon.wait_ready()
        series = ball_series("restart")
        send_series(series, tmp_path / "in", daemon)
        wait_states(daemon, series, "running")
        daemon.kill_all()
        fill(disk / "filler")
        daemon.start()
        wait_until(lambda: "No space left" in daemon.log.read_text() or daemon.process.poll() is not None, 30)
        assert daemon.process.poll() in (None, 1)
        (disk / "filler").unlink()
        if daemon.process.poll() is not None:
            daemon.start()
        wait_states(daemon, series, "delivered", seconds=60)
        assert_log_is_clean(daemon, series)


def test_a_full_destination_folder_gets_everything_once_there_is_room(tmp_path, engines):
    with mounted(tmp_path / "small", "size=4m") as disk:
        config = write_config(tmp_path / "site.yaml", engines, [folder(disk / "out")])
        with Daemon(config, tmp_path / "spool") as daemon:
            daemon.wait_ready()
            fill(disk / "filler")
            series = ball_series("elsewhere")
            send_series(series, tmp_path / "in", daemon)
            labels = {"destination": "disk", "outcome": "deferred", "reason": "disk_full"}
            wait_until(lambda: daemon.metric("edge_deliveries_total", **labels) > 1, 20)
            wait_states(daemon, series, "reported")
            assert "disk_full" in daemon.log.read_text() and daemon.get("/readyz")[0] == 200
            (disk / "filler").unlink()
            (job,) = wait_states(daemon, series, "delivered")
            made = {path.read_bytes() for path in (daemon.spool / "jobs" / job["id"] / "report").glob("*.dcm")}
            assert made <= {path.read_bytes() for path in (disk / "out").iterdir()}
            assert_log_is_clean(daemon, series)


def test_a_log_that_takes_nothing_stops_nothing(tmp_path, engines):
    config = write_config(tmp_path / "site.yaml", engines, [folder(tmp_path / "out")])
    with Daemon(config, tmp_path / "spool", log=type(tmp_path)("/dev/full")) as daemon:
        daemon.wait_ready()
        series = ball_series("unlogged")
        send_series(series, tmp_path / "in", daemon)
        wait_until(lambda: all_states(daemon) == ["delivered"], 30)
        assert daemon.stop() == 0
