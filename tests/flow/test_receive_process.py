"""The receiver as a process: its size, its death, a full disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dicom_peers import UID, RawPeer, ServerProcess, data_set, explicit, p_data, serving, until

from edge_runtime.spool.instances import InstanceStore

MEGABYTE = 1_000_000


def test_an_idle_receiver_is_small_and_has_loaded_nothing_heavy(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        assert server.hello["heavy"] == []
        with RawPeer(server.port).associate() as peer:
            assert peer.store(data_set()) == 0
            peer.release()
        assert server.resident_bytes() < 80 * MEGABYTE
        assert server.stop() == 0


def test_memory_stays_flat_for_an_object_larger_than_it(tmp_path: Path) -> None:
    """300 MB in one object: the receiver grows by less than 10 MB while it takes them."""
    head = data_set(pixel_bytes=0)[:-12]
    block = bytes(1 << 20)
    with ServerProcess(tmp_path) as server, RawPeer(server.port).associate() as peer:
        assert peer.store(data_set()) == 0
        before = server.resident_bytes()
        peak = before
        peer.send_store()
        peer.send(p_data(1, 0, head + explicit(0x7FE0, 0x0010, "OW", b"")[:8] + len(block * 300).to_bytes(4, "little")))
        for number in range(300):
            for start in range(0, len(block), 1 << 17):
                last = number == 299 and start + (1 << 17) == len(block)
                peer.send(p_data(1, 2 if last else 0, block[start : start + (1 << 17)]))
            peak = max(peak, server.resident_bytes())
        peer.socket.settimeout(120)
        assert peer.status() == 0
        assert peak - before < 10 * MEGABYTE
        store = InstanceStore(tmp_path, 0)
        receipt = max(store.scan(), key=lambda one: one.size_bytes)
        assert receipt.size_bytes > 300 << 20
        assert store.verify(receipt)


def test_killed_in_mid_instance_the_acknowledged_survive_and_the_partial_one_goes(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server, RawPeer(server.port).associate() as peer:
        assert peer.store(data_set()) == 0
        peer.send_store(sop_instance=UID + ".2")
        peer.send_data(data_set(sop_instance=UID + ".2", pixel_bytes=500_000), last=False)
        assert until(lambda: len(list(tmp_path.rglob("*.dcm"))) == 2)
        server.kill()
    store = InstanceStore(tmp_path, 0)
    report = store.recover()
    assert (report.complete, report.removed, report.damaged) == (1, 1, 0)
    (receipt,) = store.scan()
    assert receipt.arrival.sop_instance_uid == UID
    assert store.verify(receipt)


def test_whenever_it_is_killed_every_acknowledged_instance_is_there(tmp_path: Path) -> None:
    for round_number in range(4):
        acknowledged: list[str] = []
        root = tmp_path / str(round_number)

        def send(port: int, acknowledged: list[str] = acknowledged) -> None:
            with contextlib.suppress(OSError, EOFError), RawPeer(port).associate() as peer:
                for number in range(10_000):
                    uid = f"{UID}.{number}"
                    if peer.store(data_set(sop_instance=uid, pixel_bytes=100_000), sop_instance=uid) == 0:
                        acknowledged.append(uid)

        with ServerProcess(root, "--quiet") as server:
            sender = threading.Thread(target=send, args=(server.port,))
            sender.start()
            assert until(lambda seen=acknowledged, least=5 + 7 * round_number: len(seen) >= least)
            server.kill()
            sender.join(10)
        store = InstanceStore(root, 0)
        assert store.recover().damaged == 0
        kept = {receipt.arrival.sop_instance_uid for receipt in store.scan() if store.verify(receipt)}
        assert set(acknowledged) <= kept
        assert len(kept) <= len(acknowledged) + 1, "at most the one that was on its way"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small file system is not permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_while_writing_gives_out_of_resources_and_keeps_what_was_acknowledged(
    small_disk: Path,
) -> None:
    with serving(small_disk) as served, RawPeer(served.port).associate() as peer:
        assert peer.store(data_set(pixel_bytes=MEGABYTE)) == 0
        peer.send_store()
        data = data_set(pixel_bytes=3 * MEGABYTE)
        peer.send_data(data[:MEGABYTE], last=False)
        assert until(lambda: len(served.files()) == 2)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        peer.send_data(data[MEGABYTE:])
        assert peer.status() == 0xA700
        assert peer.store(data_set(pixel_bytes=MEGABYTE)) == 0xA700
        assert len(served.files()) == 1
        filler.unlink()
        assert peer.store(data_set()) == 0
        assert until(lambda: len(served.receipts) == 2)
        assert all(served.store.verify(receipt) for receipt in served.receipts)
        assert served.metrics.results("out_of_resources") == 2


def test_the_reserve_is_kept_while_a_long_object_arrives(small_disk: Path) -> None:
    with serving(small_disk, reserve_bytes=5 * MEGABYTE) as served, RawPeer(served.port).associate() as peer:
        assert peer.store(data_set(pixel_bytes=30 * MEGABYTE)) == 0xA700
        assert served.files() == []
        assert peer.store(data_set(pixel_bytes=MEGABYTE)) == 0


def test_a_disk_error_at_fsync_is_out_of_resources_and_the_association_goes_on(tmp_path: Path) -> None:
    failing = threading.Event()

    def sync(descriptor: int) -> None:
        if failing.is_set():
            raise OSError(5, "Input/output error")
        os.fsync(descriptor)

    with serving(tmp_path, sync=sync) as served, RawPeer(served.port).associate() as peer:
        assert peer.store(data_set()) == 0
        failing.set()
        assert peer.store(data_set()) == 0xA700
        failing.clear()
        assert peer.store(data_set()) == 0
        assert until(lambda: len(served.receipts) == 2)
        assert len(served.files()) == 2
