"""The spool's disk: kind, room and speed, each with what makes it fail."""

import contextlib
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from support.mounts import mounted, unwritable
from support.spools import make_config, store_instance

from edge_runtime.doctor.check import Outcome, Site
from edge_runtime.doctor.disk import (
    SLOWEST_MEGABYTES_PER_SECOND,
    SLOWEST_SYNC_SECONDS,
    examine_disk,
    file_system_of,
    measure,
    nearest_folder,
    space_check,
    speed_check,
)
from edge_runtime.spool.spool import open_spool, prepare_spool

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /var/lib/edge rw,relatime - tmpfs tmpfs rw
31 22 0:31 / /mnt/with\\040space rw - nfs4 server:/x rw
32 30 0:32 / /var/lib/edge/run rw - xfs /dev/sdb rw
"""


def found(folder, **spool):
    config = make_config(folder)
    site = Site(replace(config, spool=replace(config.spool, **spool)), folder / "site.yaml")
    return {check.what: check for check in examine_disk(site)}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/srv", "ext4"), ("/var/lib/edge/instances", "tmpfs"), ("/var/lib/edge", "tmpfs"), ("/var/lib/edge2", "ext4"),
     ("/var/lib/edge/run/x", "xfs"), ("/mnt/with space/spool", "nfs4")],
)  # fmt: skip
def test_the_file_system_is_that_of_the_longest_mount_point_above(path, kind):
    assert file_system_of(Path(path), MOUNTS) == kind


def test_a_spool_in_memory_is_warned_of():
    place = Path("/dev/shm") / f"edge-doctor-{uuid.uuid4().hex}"
    place.mkdir()
    try:
        check = found(place)["spool file system"]
    finally:
        place.rmdir()
    assert check.outcome is Outcome.WARN and "memory" in check.found


def test_a_spool_on_a_disk_with_room_is_well(tmp_path):
    checks = found(tmp_path)
    assert set(checks) == {"spool file system", "spool space", "spool disk speed"}
    assert checks["spool disk speed"].outcome is not Outcome.FAIL
    assert list(tmp_path.iterdir()) == []


def test_the_reserve_the_day_and_the_time_that_images_are_kept_decide_about_the_space():
    gigabyte = 10**9
    assert space_check(5 * gigabyte, 5 * gigabyte, None, 24).outcome is Outcome.FAIL
    assert space_check(24 * gigabyte, 5 * gigabyte, None, 24).outcome is Outcome.WARN
    assert space_check(26 * gigabyte, 5 * gigabyte, None, 24).outcome is Outcome.OK
    assert space_check(26 * gigabyte, 5 * gigabyte, 11 * gigabyte, 48).outcome is Outcome.WARN
    assert space_check(26 * gigabyte, 5 * gigabyte, 10 * gigabyte, 48).outcome is Outcome.OK
    assert space_check(8 * gigabyte, 5 * gigabyte, gigabyte, 1).outcome is Outcome.OK


@pytest.mark.parametrize(("age_seconds", "basis"), [(86_000, "last 24 h"), (600, "assumed")])
def test_the_day_is_the_journals_where_it_has_one(tmp_path, age_seconds, basis):
    config = make_config(tmp_path)
    prepare_spool(config)
    spool = open_spool(config)
    times = (time.time() - age_seconds, time.time())
    spool.instances.add([store_instance(spool, number, at=at) for number, at in enumerate(times)])
    spool.close()
    (check,) = [c for c in examine_disk(Site(config, tmp_path)) if c.what == "spool space"]
    assert basis in check.found


def test_a_journal_that_cannot_be_read_leaves_the_assumption(tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "journal.sqlite").write_bytes(b"no database" * 100)
    assert "assumed" in found(tmp_path)["spool space"].found


def test_less_than_the_reserve_is_a_fail(tmp_path):
    checks = found(tmp_path, reserve_bytes=10**18)
    assert checks["spool space"].outcome is Outcome.FAIL
    assert "full" in checks["spool disk speed"].found


def test_a_slow_disk_is_warned_of():
    assert speed_check(SLOWEST_MEGABYTES_PER_SECOND, SLOWEST_SYNC_SECONDS).outcome is Outcome.OK
    assert speed_check(SLOWEST_MEGABYTES_PER_SECOND - 1, 0.001).outcome is Outcome.WARN
    assert speed_check(500.0, SLOWEST_SYNC_SECONDS * 1.1).outcome is Outcome.WARN


def test_the_measurement_is_of_the_disk(tmp_path):
    rate, sync_seconds = measure(tmp_path)
    assert rate > 0 and sync_seconds > 0
    assert (tmp_path / "speed").stat().st_size > 32_000_000


def test_a_disk_that_cannot_be_written_is_a_fail(tmp_path):
    with unwritable(tmp_path / "ro") as place:
        assert found(place)["spool can be written"].outcome is Outcome.FAIL


def test_a_full_disk_is_a_fail(tmp_path):
    with mounted(tmp_path / "small", "size=1m") as place:
        with (place / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        checks = found(place)
    assert checks["spool space"].outcome is Outcome.FAIL
    assert checks["spool disk speed"].outcome is Outcome.WARN


def test_a_spool_that_is_cut_by_a_mount_is_a_fail(tmp_path):
    config = make_config(tmp_path)
    prepare_spool(config)
    with mounted(Path(config.spool.path) / "jobs"):
        cut = found(tmp_path)["spool on one file system"]
    assert cut.outcome is Outcome.FAIL and "jobs" in cut.found
    assert found(tmp_path)["spool on one file system"].outcome is Outcome.OK


def test_the_nearest_folder_is_the_path_or_what_is_there_of_it(tmp_path):
    assert nearest_folder(tmp_path) == tmp_path
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    (tmp_path / "file").write_bytes(b"")
    assert nearest_folder(tmp_path / "file") == tmp_path
