"""Spools as older versions of the daemon left them, kept as archives; and how such an archive is made.

In a checkout of the version to keep: `PYTHONPATH=tests:. python -m support.old_spools ARCHIVE.tar.xz`.
"""

from __future__ import annotations

import os
import signal
import sys
import tarfile
import tempfile
from pathlib import Path

from pydicom.dataset import Dataset
from support.hostile import all_states, journal
from support.pacs import wait_until
from support.site import ball_series, build_engine, save_series, send, send_series, write_config

from benchmarks.daemon import Daemon, free_port

VERSION_1 = Path(__file__).with_name("spool_version_1.tar.xz")
"""Journal version 1. Jobs: delivered, reported (its PACS was away), refused, concluded, collecting; and an image that
was stored and not yet looked at. The daemon was killed."""

AGES = {"retention": {"originals_hours": 1e6, "results_days": 1e6}}
"""What a configuration needs so that an archived spool is not deleted for its age."""


def unpack(archive: Path, folder: Path) -> Path:
    """The spool of an archive, in `folder/spool`."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "spool"


def make(archive: Path, work: Path) -> None:
    """Run the daemon of this checkout until its spool holds jobs in many states, kill it, and archive the spool."""
    peer = {"type": "dicom", "ae_title": "AWAY", "host": "127.0.0.1", "port": free_port()}
    destinations = [{"name": "disk", "type": "folder", "path": str(work / "out")}, {"name": "pacs", **peer}]
    engines = build_engine(work / "engines")
    config = write_config(work / "site.yaml", engines, destinations, send_to=["disk"], results=["sr", "json"])
    with Daemon(config, work / "spool") as daemon:
        daemon.wait_ready()
        send_series(ball_series("delivered", 6), work / "in-1", daemon)
        send_series(_with_gap("refused"), work / "in-2", daemon)
        wait_until(lambda: all_states(daemon) == ["delivered", "refused"], 60)
        daemon.stop()
        write_config(config, engines, destinations, results=["sr", "json"])
        daemon.start()
        daemon.wait_ready()
        send_series(ball_series("reported", 6), work / "in-3", daemon)
        wait_until(
            lambda: journal(daemon.spool, "SELECT 1 FROM deliveries WHERE state = 'queued' AND attempts > 0"), 60
        )
        os.kill(daemon.role_pids()["report"], signal.SIGSTOP)
        send_series(ball_series("concluded", 6), work / "in-4", daemon)
        wait_until(lambda: "concluded" in all_states(daemon), 15)
        save_series(ball_series("collecting", 6), work / "in-5")
        save_series(ball_series("stored", 6)[:1], work / "in-6")
        assert send(work / "in-5", daemon.dicom_port).returncode == 0
        wait_until(lambda: "collecting" in all_states(daemon), 10)
        os.kill(daemon.role_pids()["infer"], signal.SIGSTOP)
        assert send(work / "in-6", daemon.dicom_port).returncode == 0
        wait_until(lambda: journal(daemon.spool, "SELECT 1 FROM instances WHERE state = 'stored'"), 10)
        daemon.kill_all()
    print(journal(work / "spool", "SELECT state, reason FROM jobs"))
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(work / "spool", "spool", filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return None if member.name.startswith("spool/run/") else member


def _with_gap(name: str) -> list[Dataset]:
    series = ball_series(name, 6)
    return [*series[:2], *series[3:]]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make(Path(sys.argv[1]), Path(folder))
