"""What the worker does with the outcomes of a destination, one round at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import pytest
from support.parcels import MemoryQueue, make_parcel

from edge_runtime.deliver.base import Delivery, Outcome, Reason
from edge_runtime.deliver.worker import DeliveryWorker, Heartbeat, Retry
from edge_runtime.result_objects import ResultKind
from edge_runtime.telemetry.metrics import NullMetrics

DONE = Delivery(Outcome.DONE, Reason.STORED)
FULL = Delivery(Outcome.DEFERRED, Reason.OUT_OF_RESOURCES, "status 0xA700")
PARKED = Delivery(Outcome.PARKED, Reason.CANNOT_UNDERSTAND, "status 0xC000")
AWAY = Delivery(Outcome.DEFERRED, Reason.AWAY, "cannot connect", away=True)


class Scripted:
    """A destination that answers by the parcel and remembers what it was asked."""

    name = "pacs"

    def __init__(self, answer: Callable) -> None:
        self.answer = answer
        self.sends: list[list[str]] = []
        self.ended = 0

    def send_many(self, parcels):
        self.sends.append([f"{p.job_id}/{p.kind.value}" for p in parcels])
        try:
            for parcel in parcels:
                yield self.answer(parcel)
        finally:
            self.ended += 1

    def bound_seconds(self, size_bytes):
        return 10.0 + size_bytes

    def close(self):
        """Nothing is held."""


class Counted(NullMetrics):
    def __init__(self) -> None:
        self.counts: dict[tuple, float] = {}
        self.gauges: list[float] = []

    def count(self, name, amount=1.0, **labels):
        key = (name, *sorted(labels.items()))
        self.counts[key] = self.counts.get(key, 0) + amount

    def set(self, name, value, **labels):
        self.gauges.append(value)


class Bench:
    def __init__(self, answer: Callable, tmp_path) -> None:
        self.now = 1_000.0
        self.folder = tmp_path
        self.queue = MemoryQueue()
        self.destination = Scripted(answer)
        self.metrics = Counted()
        self.beats: list[tuple[str, float]] = []
        self.worker = DeliveryWorker(
            self.destination,
            self.queue,
            self.metrics,
            Retry(2.0, 300.0, jitter=lambda: 0.0),
            clock=lambda: self.now,
            heartbeat=Heartbeat(on_progress=lambda item, bound: self.beats.append((item, bound))),
        )

    def put(self, kind=ResultKind.SR, job_id="job-1", due_at=0.0):
        return self.queue.put(make_parcel(self.folder / job_id, kind, job_id), due_at)


@pytest.fixture
def bench(tmp_path):
    return lambda answer: Bench(answer, tmp_path)


def test_the_objects_of_a_job_go_together_and_the_seg_goes_first(bench):
    made = bench(lambda parcel: DONE)
    for job in ("job-1", "job-2"):
        for kind in (ResultKind.JSON, ResultKind.OVERLAY, ResultKind.SR, ResultKind.SEG):
            made.put(kind, job)
    assert made.worker.run_round() == 8
    assert made.destination.sends == [
        [f"{job}/{k}" for k in ("seg", "sr", "overlay", "json")] for job in ("job-1", "job-2")
    ]
    assert made.destination.ended == 2
    assert made.queue.waiting == {}


def test_an_attempt_is_committed_before_it_is_made(bench):
    seen = []
    made = bench(lambda parcel: seen.append(list(made.queue.begun)) or DONE)
    number = made.put()
    made.worker.run_round()
    assert seen == [[(number,)]]


def test_a_deferred_object_waits_twice_as_long_each_time_and_is_never_given_up(bench):
    made = bench(lambda parcel: FULL)
    number = made.put()
    waits = []
    for _ in range(12):
        assert made.worker.run_round() == 1
        waits.append(made.queue.next_attempts[number] - made.now)
        assert made.worker.run_round() == 0
        made.now = made.queue.next_attempts[number]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]


def test_a_parked_object_is_logged_as_an_error_with_what_to_do_and_never_tried_again(bench, caplog):
    made = bench(lambda parcel: PARKED)
    made.put()
    with caplog.at_level(logging.INFO, "edge_runtime.deliver"):
        made.worker.run_round()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "jobs retry" in record.event["advice"]
    made.now += 10**6
    assert made.worker.run_round() == 0


def test_the_log_and_the_metrics_name_no_patient(bench, caplog):
    made = bench(lambda parcel: {"sr": DONE, "seg": FULL, "overlay": PARKED}[parcel.kind.value])
    parcels = [
        made.queue.waiting[made.put(kind)][0].parcel for kind in (ResultKind.SR, ResultKind.SEG, ResultKind.OVERLAY)
    ]
    with caplog.at_level(logging.DEBUG):
        made.worker.run_round()
    told = repr([record.__dict__ for record in caplog.records]) + repr(made.metrics.counts)
    assert len(caplog.records) == 3
    assert "Nobody" not in told
    assert not any(parcel.sop_instance_uid in told or str(parcel.path) in told for parcel in parcels)


def test_every_outcome_is_counted_by_destination_and_reason(bench):
    made = bench(lambda parcel: {"sr": DONE, "seg": FULL, "overlay": PARKED}[parcel.kind.value])
    for kind in (ResultKind.SR, ResultKind.SEG, ResultKind.OVERLAY):
        made.put(kind)
    made.worker.run_round()
    names = [dict(key[1:]) for key in made.metrics.counts if key[0] == "edge_deliveries_total"]
    assert sorted((n["outcome"], n["reason"]) for n in names) == [
        ("deferred", "out_of_resources"),
        ("done", "stored"),
        ("parked", "cannot_understand"),
    ]


def test_an_absent_destination_is_tried_once_a_wait_however_long_the_backlog(bench, monkeypatch):
    made = bench(lambda parcel: AWAY)
    clock = [5_000.0]
    monkeypatch.setattr("edge_runtime.deliver.worker.time.monotonic", lambda: clock[0])
    for job in range(50):
        made.put(job_id=f"job-{job}")
    waits = []
    for _ in range(10):
        assert made.worker.run_round() == 1
        opens = made.worker._closed_until
        waits.append(opens - clock[0])
        for step in (0.0, (opens - clock[0]) / 2):
            clock[0] += step
            made.now += step
            assert made.worker.run_round() == 0
        made.now += opens - clock[0]
        clock[0] = opens
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert len(made.destination.sends) == 10
    assert made.metrics.gauges == [0.0] * 10
    made.destination.answer = lambda parcel: DONE
    assert made.worker.run_round() == 50
    assert made.queue.waiting == {}
    assert made.metrics.gauges[-1] == 1.0
    made.put(job_id="late")
    made.destination.answer = lambda parcel: AWAY
    made.worker.run_round()
    assert made.worker._closed_until - clock[0] == 2  # it was there in between: the waits begin anew


def test_a_person_who_asks_ends_the_wait_and_a_mere_hint_does_not(bench):
    made = bench(lambda parcel: AWAY)
    number = made.put()
    made.worker.run_round()
    made.now = made.queue.next_attempts[number] + 1
    made.worker.wake()
    assert made.worker.run_round() == 0
    made.worker.wake(retry_now=True)
    assert made.worker.run_round() == 1


def test_what_the_site_must_mend_waits_as_long_as_configured(bench):
    rejected = Delivery(Outcome.DEFERRED, Reason.REFUSED_ASSOCIATION, "", True, math.inf)
    made = bench(lambda parcel: rejected)
    number = made.put()
    made.worker.run_round()
    assert made.queue.next_attempts[number] - made.now == pytest.approx(300, abs=1)


def test_an_error_inside_keeps_neither_the_worker_nor_the_other_objects_back(bench, caplog):
    def answer(parcel):
        if parcel.kind is ResultKind.SEG:
            raise RuntimeError("a defect")
        return DONE

    made = bench(answer)
    seg, sr = made.put(ResultKind.SEG), made.put(ResultKind.SR)
    made.worker.run_round()
    assert made.queue.reasons(seg) == ["internal"]
    assert made.queue.reasons(sr) == ["stored"]
    assert made.metrics.counts["edge_delivery_errors_total", ("destination", "pacs")] == 1
    assert "delivery failed inside" in caplog.messages


def test_a_clock_that_was_set_back_holds_nothing_back(bench):
    made = bench(lambda parcel: DONE)
    made.put(due_at=made.now + 86_400)
    assert made.worker.run_round() == 1


def test_a_wait_within_the_maximum_is_kept(bench):
    made = bench(lambda parcel: DONE)
    made.put(due_at=made.now + 299)
    assert made.worker.run_round() == 0


def test_each_object_is_announced_with_its_bound_before_it_is_sent(bench):
    made = bench(lambda parcel: DONE)
    number = made.put()
    size = made.queue.waiting[number][0].parcel.path.stat().st_size
    made.worker.run_round()
    assert made.beats == [(f"delivery {number}", 10.0 + size)]


def test_what_could_not_be_written_down_is_sent_again(bench, monkeypatch):
    """The journal fails after the send: nothing stays begun for ever, also what was not yet sent of the job."""
    made = bench(lambda parcel: DONE)
    seg, sr = made.put(ResultKind.SEG), made.put(ResultKind.SR)
    finish = made.queue.finish

    def failing(*arguments):
        raise OSError("disk")

    monkeypatch.setattr(made.queue, "finish", failing)
    with pytest.raises(OSError, match="disk"):
        made.worker.run_round()
    assert made.destination.ended == 1
    monkeypatch.setattr(made.queue, "finish", finish)
    assert made.worker.run_round() == 2
    assert made.queue.reasons(seg) == made.queue.reasons(sr) == ["internal", "stored"]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Reason.STORED, [1.0]),
        (Reason.TIMEOUT, [0.0]),
        (Reason.ABORTED, [0.0]),
        (Reason.ALTERED, []),
        (Reason.MISSING, []),
    ],
)
def test_only_what_the_destination_did_tells_whether_it_is_up(bench, reason, told):
    made = bench(lambda parcel: Delivery(Outcome.PARKED, reason))
    made.put()
    made.worker.run_round()
    assert made.metrics.gauges == told
