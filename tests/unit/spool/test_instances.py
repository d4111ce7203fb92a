"""Instance files: durable with their receipt, or not there at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dicom_peers import EXPLICIT_LE, UID, arrival, data_set

from edge_runtime.errors import SpoolError, SpoolFull
from edge_runtime.spool.instance_format import (
    DATA_SET_OFFSET,
    BrokenHeader,
    decode_receipt,
    encode_header,
    encode_receipt,
)
from edge_runtime.spool.instance_incoming import GRANT_BYTES, Space
from edge_runtime.spool.instances import InstanceStore, data_set_offset, hour_of, new_id, read_receipt
from edge_runtime.spool.receipt import Arrival, Receipt

uids = st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}", fullmatch=True)
titles = st.from_regex(r"[A-Z0-9_]{1,16}", fullmatch=True)
arrivals = st.builds(
    Arrival, uids, uids, uids, titles, st.ip_addresses().map(str), titles, st.floats(0, 4e9, allow_nan=False)
)


def put(store: InstanceStore, data: bytes, **changes: object) -> Receipt:
    incoming = store.begin(arrival(**changes))
    incoming.write(data)
    return incoming.commit()


def partial(store: InstanceStore, data: bytes) -> Path:
    """A file as a killed process leaves it: header and bytes, no receipt."""
    incoming = store.begin(arrival())
    incoming.write(data)
    return store.path(incoming.id)


def test_an_instance_that_is_added_whole_is_the_file_that_a_received_one_is(tmp_path):
    store = InstanceStore(tmp_path, 0)
    received = put(store, b"data set")
    own = Receipt(new_id(received.arrival.received_at), received.arrival, received.sha256, received.size_bytes)
    store.add(own, b"data set")
    assert read_receipt(store.path(own.id)) == own and store.verify(own)
    assert store.path(own.id).read_bytes()[DATA_SET_OFFSET:] == b"data set"
    assert store.path(own.id).stat().st_mode & 0o777 == 0o600
    assert store.recover().complete == 2


def test_one_that_is_added_below_the_reserve_or_on_a_full_disk_is_not_there(tmp_path, monkeypatch):
    store = InstanceStore(tmp_path, 10**18)
    receipt = Receipt(new_id(1e9), arrival(), hashlib.sha256(b"x").hexdigest(), 1)
    with pytest.raises(SpoolFull):
        store.add(receipt, b"x")
    store.keep_free(0)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(SpoolFull):
        store.add(receipt, b"x")
    store.remove(receipt.id)
    assert not list(store.scan()) and not list(tmp_path.rglob("*.dcm*"))


@given(arrivals, st.integers(0, 1 << 40))
def test_a_receipt_is_read_back_as_it_was_written(some: Arrival, size: int) -> None:
    receipt = Receipt(new_id(some.received_at), some, hashlib.sha256().hexdigest(), size)
    header = encode_header(some)
    assert len(header) == DATA_SET_OFFSET
    assert decode_receipt(header) is None
    assert decode_receipt(header[:2048] + encode_receipt(receipt)) == receipt


@given(st.binary(max_size=DATA_SET_OFFSET))
def test_any_bytes_are_a_receipt_or_none_or_a_broken_header(data: bytes) -> None:
    with contextlib.suppress(BrokenHeader):
        assert decode_receipt(data) is None or data[128:132] == b"DICM"


@given(arrivals, st.integers(2048, DATA_SET_OFFSET - 1))
def test_a_receipt_that_was_torn_is_never_taken_for_a_whole_one(some: Arrival, cut: int) -> None:
    receipt = Receipt(new_id(some.received_at), some, hashlib.sha256().hexdigest(), 7)
    whole = encode_header(some)[:2048] + encode_receipt(receipt)
    torn = whole[:cut] + bytes(DATA_SET_OFFSET - cut)
    if cut == 2048:
        assert decode_receipt(torn) is None
    else:
        with pytest.raises(BrokenHeader):
            decode_receipt(torn)


def test_ids_sort_by_time_and_name_the_hour_of_receipt() -> None:
    earlier, later = new_id(1_790_000_000.0), new_id(1_790_000_000.001)
    assert earlier < later
    assert hour_of(earlier) == time.strftime("%Y%m%d%H", time.gmtime(1_790_000_000))


@pytest.mark.parametrize("bad", ["", "../../etc/passwd", "A" * 30, "0" * 29, "0" * 31, "1.2.840"])
def test_only_ids_made_here_become_paths(tmp_path: Path, bad: str) -> None:
    with pytest.raises(SpoolError, match="not the id"):
        InstanceStore(tmp_path, 0).path(bad)


def test_a_committed_file_holds_the_exact_bytes_and_a_receipt(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    data = data_set(pixel_bytes=5000)
    incoming = store.begin(arrival())
    for start in range(0, len(data), 700):
        incoming.write(memoryview(data)[start : start + 700])
    receipt = incoming.commit()
    path = store.path(receipt.id)
    assert path.read_bytes()[data_set_offset(path) :] == data
    assert receipt == Receipt(receipt.id, arrival(), hashlib.sha256(data).hexdigest(), len(data))
    assert read_receipt(path) == receipt
    assert list(store.scan()) == [receipt]
    assert store.verify(receipt)


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path / "spool", 0)
    path = store.path(put(store, data_set()).id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parents[1], path.parents[2])} == {
        0o700
    }


def test_pydicom_reads_an_instance_file_as_part_10(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    data = data_set()
    path = store.path(put(store, data).id)
    read = pydicom.dcmread(path)
    assert read.file_meta.TransferSyntaxUID == EXPLICIT_LE
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID == UID
    assert read.file_meta.SourceApplicationEntityTitle == "CT01"
    again = io.BytesIO()
    pydicom.dcmwrite(again, read, implicit_vr=False, little_endian=True, enforce_file_format=False)
    assert again.getvalue().endswith(data)


@pytest.mark.peer
def test_dcmdump_reads_an_instance_file_without_complaint(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    path = store.path(put(store, data_set()).id)
    dump = subprocess.run(["dcmdump", "+Ep", str(path)], capture_output=True, text=True, check=True)
    assert f"[{UID}]" in dump.stdout
    assert dump.stderr == ""


def test_an_aborted_instance_leaves_nothing(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    incoming = store.begin(arrival())
    incoming.write(b"x" * 100)
    incoming.abort()
    incoming.abort()
    assert not list(tmp_path.rglob("*.dcm"))


def test_below_the_reserve_nothing_is_written(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    store = InstanceStore(tmp_path, free.f_bavail * free.f_frsize + (1 << 30))
    with pytest.raises(SpoolFull, match="reserve"):
        store.begin(arrival())
    assert not list(tmp_path.rglob("*.dcm"))


def test_the_reserve_holds_for_what_others_were_granted_but_have_not_written(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    room = 64 << 20
    space = Space(tmp_path, free - room)
    granted = 0
    with pytest.raises(SpoolFull):
        while True:
            granted += space.grant(GRANT_BYTES)
    assert 16 << 20 < granted < 110 << 20, "about 64 MiB; other programs move the free space a little"
    space.give_back(granted)
    assert space.grant(1) == GRANT_BYTES


def test_a_grant_that_is_renewed_is_not_counted_twice(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    space = Space(tmp_path, disk.f_bavail * disk.f_frsize - (64 << 20))
    grant = space.grant(1)
    for _ in range(1000):
        grant = space.grant(1, used_bytes=grant)
    assert grant == GRANT_BYTES


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("failing_call", [0, 1])
def test_a_failing_fsync_of_file_or_folder_keeps_nothing_and_is_not_repeated(
    tmp_path: Path, number: int, failing_call: int
) -> None:
    calls: list[int] = []
    armed = False

    def sync(descriptor: int) -> None:
        if armed:
            calls.append(descriptor)
            if len(calls) == failing_call + 1:
                raise OSError(number, os.strerror(number))
        os.fsync(descriptor)

    store = InstanceStore(tmp_path, 0, sync)
    incoming = store.begin(arrival())
    incoming.write(data_set())
    armed = True
    with pytest.raises(SpoolFull, match="nothing was kept"):
        incoming.commit()
    assert len(calls) == failing_call + 1
    assert not list(tmp_path.rglob("*.dcm"))
    calls.clear()
    armed = False
    assert store.verify(put(store, data_set()))


def test_a_disk_that_takes_no_more_bytes_keeps_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse a real write; in a child, as the limit is the process's."""
    script = f"""
import resource, signal
from pathlib import Path
from support.dicom_peers import arrival
from edge_runtime.errors import SpoolFull
from edge_runtime.spool.instances import InstanceStore
store = InstanceStore(Path({str(tmp_path)!r}), 0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))
incoming = store.begin(arrival())
try:
    for _ in range(10):
        incoming.write(bytes(30_000))
except SpoolFull as error:
    print("refused", error)
"""
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.stdout.startswith("refused"), done.stderr
    assert not list(tmp_path.rglob("*.dcm"))


def test_a_long_object_is_flushed_on_the_way(tmp_path: Path) -> None:
    synced: list[int] = []
    store = InstanceStore(tmp_path, 0, synced.append)
    incoming = store.begin(arrival())
    before = len(synced)
    block = bytes(8 << 20)
    for _ in range(17):
        incoming.write(block)
    assert len(synced) - before == 2
    incoming.abort()


def test_recovery_removes_partial_files_and_keeps_acknowledged_ones(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    kept = put(store, data_set())
    left = partial(store, data_set())
    fresh = InstanceStore(tmp_path, 0)
    report = fresh.recover()
    assert (report.complete, report.removed, report.damaged) == (1, 1, 0)
    assert not left.exists()
    assert list(fresh.scan()) == [kept]


def test_recovery_removes_a_file_whose_header_never_reached_the_disk(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    empty, zeros = (store.path(new_id(1_790_000_000.0)) for _ in range(2))
    empty.parent.mkdir(parents=True)
    empty.touch()
    zeros.write_bytes(bytes(10_000))
    assert store.recover().removed == 2


def test_recovery_sets_aside_what_is_shorter_than_its_receipt_says(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    receipt = put(store, data_set())
    path = store.path(receipt.id)
    os.truncate(path, path.stat().st_size - 10)
    assert store.recover().damaged == 1
    assert (tmp_path / "damaged" / path.name).exists()
    assert list(store.scan()) == []


def test_recovery_sets_aside_a_receipt_that_cannot_be_read(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    path = store.path(put(store, data_set()).id)
    with path.open("r+b") as file:
        file.seek(2048)
        file.write(b"{broken")
    with pytest.raises(SpoolError, match="damaged"):
        read_receipt(path)
    assert list(store.scan()) == []
    assert store.recover().damaged == 1
    assert (tmp_path / "damaged" / path.name).exists()


def test_bytes_that_never_reached_the_disk_are_found_by_verify_and_set_aside(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    receipt = put(store, data_set(pixel_bytes=9000))
    path = store.path(receipt.id)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(bytes(512))
    assert store.recover().complete == 1, "only the hash can tell"
    assert not store.verify(receipt)
    assert not path.exists()
    assert (tmp_path / "damaged" / path.name).exists()


def test_verifying_a_missing_file_is_an_error_not_a_verdict(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    receipt = put(store, data_set())
    store.remove(receipt.id)
    with pytest.raises(SpoolError, match="cannot be read"):
        store.verify(receipt)


def test_removing_takes_the_empty_folder_of_a_past_hour_and_may_be_repeated(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    receipt = put(store, data_set())
    store.remove(receipt.id)
    store.remove(receipt.id)
    assert not store.path(receipt.id).parent.exists()
    assert store.verify(put(store, data_set())), "the folder is made again"


def test_scan_is_oldest_first(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    times = [1_790_000_000.0, 1_789_990_000.0, 1_790_007_200.0]
    for moment in times:
        put(store, data_set(), received_at=moment)
    assert [receipt.arrival.received_at for receipt in store.scan()] == sorted(times)


def test_a_spool_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="cannot be made"):
        InstanceStore(tmp_path / "file" / "spool", 0)


def test_no_descriptor_leaks_whatever_the_end(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path, 0)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        put(store, data_set())
        store.begin(arrival()).abort()
    assert len(os.listdir("/proc/self/fd")) == before
