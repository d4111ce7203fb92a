"""Delivery to folders on real file systems."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
from support.parcels import make_parcel

from edge_runtime.deliver.base import Outcome, Reason
from edge_runtime.deliver.folder import FolderDestination
from edge_runtime.result_objects import ResultKind


def sent(folder: Path, *parcels):
    return [(d.outcome, d.reason) for d in FolderDestination("disk", folder).send_many(parcels)]


@pytest.fixture
def parcel(tmp_path):
    return make_parcel(tmp_path / "spool", ResultKind.SR, job_id="job-7")


def test_a_file_is_for_its_owner_alone_and_named_by_its_job(tmp_path, parcel):
    out = tmp_path / "new" / "out"
    assert sent(out, parcel) == [(Outcome.DONE, Reason.STORED)]
    (path,) = out.iterdir()
    assert path.name == "job-7-sr.dcm"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert path.read_bytes() == parcel.path.read_bytes()


def test_other_bytes_under_the_same_name_are_never_overwritten(tmp_path, parcel):
    (tmp_path / "job-7-sr.dcm").write_bytes(b"theirs")
    assert sent(tmp_path, parcel) == [(Outcome.PARKED, Reason.CONFLICT)]
    assert (tmp_path / "job-7-sr.dcm").read_bytes() == b"theirs"


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.symlink_to("/dev/null"), lambda path: path.symlink_to("gone"), os.mkfifo]
)
def test_what_is_no_file_under_the_same_name_is_left_alone(tmp_path, parcel, make):
    make(tmp_path / "job-7-sr.dcm")
    before = os.lstat(tmp_path / "job-7-sr.dcm")
    assert sent(tmp_path, parcel) == [(Outcome.PARKED, Reason.CONFLICT)]
    assert os.lstat(tmp_path / "job-7-sr.dcm").st_ino == before.st_ino


def test_what_an_interrupted_attempt_left_does_not_hinder_the_next(tmp_path, parcel):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".disk-job-7-sr.dcm.partial").write_bytes(b"half")
    assert sent(out, parcel) == [(Outcome.DONE, Reason.STORED)]
    assert [path.name for path in out.iterdir()] == ["job-7-sr.dcm"]


def test_a_full_disk_defers_and_leaves_nothing_behind(tmp_path):
    out = tmp_path / "small"
    out.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(out)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        large = make_parcel(tmp_path / "spool", ResultKind.SEG, extra_bytes=200_000)
        small = make_parcel(tmp_path / "spool", ResultKind.SR)
        assert sent(out, large, small) == [(Outcome.DEFERRED, Reason.DISK_FULL), (Outcome.DONE, Reason.STORED)]
        assert [path.name for path in out.iterdir()] == ["job-1-sr.dcm"]
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_an_unwritable_place_is_away_with_the_systems_reason(tmp_path, parcel):
    (tmp_path / "file").write_bytes(b"")
    (delivery,) = FolderDestination("disk", tmp_path / "file").send_many([parcel])
    assert (delivery.outcome, delivery.reason, delivery.away) == (Outcome.DEFERRED, Reason.AWAY, True)
    assert delivery.detail.startswith(errno.errorcode[errno.EEXIST]) or "ENOTDIR" in delivery.detail
    assert str(tmp_path) not in delivery.detail
