"""The worker's thread against real peers: away for a while, slow beside fast, stopped in the middle."""

from __future__ import annotations

import time

import pytest
from support.pacs import StubPacs, accept_association, free_port, raw_server, storescp, wait_until
from support.parcels import MemoryQueue, data_set_bytes, make_parcel

from edge_runtime import config
from edge_runtime.deliver.registry import build_destination
from edge_runtime.deliver.worker import DeliveryWorker, Heartbeat, Retry
from edge_runtime.result_objects import ResultKind
from edge_runtime.telemetry.metrics import NullMetrics

KINDS = (ResultKind.SR, ResultKind.SEG, ResultKind.OVERLAY)


def dicom_worker(port: int, queue: MemoryQueue, timeout_seconds: float = 1.0, **more) -> DeliveryWorker:
    settings = config.Destination(
        "pacs", "dicom", ae_title="PACS", host="127.0.0.1", port=port, timeout_seconds=timeout_seconds
    )
    destination = build_destination(settings, "EDGE")
    return DeliveryWorker(destination, queue, NullMetrics(), Retry(0.05, 0.2), **more)


@pytest.mark.peer
def test_results_made_while_the_pacs_is_down_arrive_when_it_is_up(tmp_path):
    """Unchanged, and each once."""
    queue, port = MemoryQueue(), free_port()
    parcels = [make_parcel(tmp_path / f"job-{n}", kind, f"job-{n}") for n in range(3) for kind in KINDS]
    numbers = [queue.put(parcel) for parcel in parcels]
    worker = dicom_worker(port, queue)
    worker.start()
    try:
        wait_until(lambda: queue.reasons(numbers[0]).count("away") >= 2)
        kept = tmp_path / "kept"
        with storescp(kept, port=port):
            wait_until(lambda: not queue.waiting)
    finally:
        assert worker.stop(5)
    assert sorted(data_set_bytes(p) for p in kept.iterdir()) == sorted(data_set_bytes(p.path) for p in parcels)
    assert all(queue.reasons(number)[-1] == "stored" for number in numbers)


def test_a_full_pacs_gets_the_object_again_later(tmp_path):
    queue = MemoryQueue()
    number = queue.put(make_parcel(tmp_path))
    with StubPacs(statuses=[0xA700, 0xA700, 0x0000]).running() as pacs:
        worker = dicom_worker(pacs.port, queue)
        worker.start()
        try:
            wait_until(lambda: not queue.waiting)
        finally:
            assert worker.stop(5)
        assert len({data for _, data in pacs.received}) == 1
    assert queue.reasons(number) == ["out_of_resources", "out_of_resources", "stored"]


def test_a_pacs_that_hangs_costs_the_other_destination_nothing(tmp_path):
    hanging, working = MemoryQueue(), MemoryQueue()
    parcel = make_parcel(tmp_path)
    stuck = hanging.put(parcel)
    working.put(parcel)

    def hang(connection, over):
        accept_association(connection)
        over.wait()

    with raw_server(hang) as port, StubPacs().running() as pacs:
        workers = [dicom_worker(port, hanging, 60.0), dicom_worker(pacs.port, working)]
        for worker in workers:
            worker.start()
        wait_until(lambda: not working.waiting)
        assert hanging.reasons(stuck) == []
        stopped = [worker.stop(0.2) for worker in workers]
    assert stopped == [True, True]
    assert hanging.reasons(stuck) == ["aborted"]
    assert stuck in hanging.waiting


def test_a_new_result_wakes_the_worker(tmp_path):
    """A hint is enough: the poll alone would take seconds."""
    queue, idle = MemoryQueue(), []
    with StubPacs().running() as pacs:
        worker = dicom_worker(pacs.port, queue, heartbeat=Heartbeat(on_idle=lambda: idle.append(time.monotonic())))
        worker.start()
        try:
            wait_until(lambda: bool(idle))
            number = queue.put(make_parcel(tmp_path))
            worker.wake()
            wait_until(lambda: queue.reasons(number) == ["stored"], 4.0)
        finally:
            assert worker.stop(5)


def test_a_queue_that_fails_for_a_while_stops_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("edge_runtime.deliver.worker._POLL_SECONDS", 0.05)
    queue = MemoryQueue()
    number = queue.put(make_parcel(tmp_path))
    failures = [OSError("disk"), OSError("disk")]
    due = queue.due

    def failing(*arguments):
        if failures:
            raise failures.pop()
        return due(*arguments)

    monkeypatch.setattr(queue, "due", failing)
    with StubPacs().running() as pacs:
        worker = dicom_worker(pacs.port, queue)
        worker.start()
        try:
            wait_until(lambda: queue.reasons(number) == ["stored"])
        finally:
            assert worker.stop(5)
    assert caplog.messages.count("delivery queue failed") == 2
