"""One thread a destination: a slow or absent peer costs nothing but its own backlog."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from edge_runtime.deliver.base import Delivery, Destination, Outcome, Parcel, Reason
from edge_runtime.deliver.policy import SEND_ORDER, wait_seconds
from edge_runtime.deliver.queue import DeliveryQueue, QueuedDelivery
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.deliver")

Attempts = Generator[tuple[QueuedDelivery, Delivery, float], None, None]

_BATCH = 64
_POLL_SECONDS = 5.0  # hints to wake may be lost
_SHORTEST_WAIT_SECONDS = 0.05
_CLOCK_STEP_SECONDS = 60.0  # a clock set back by less only makes waits longer
_OUR_OWN = frozenset(
    {
        Reason.ALTERED, Reason.MISSING, Reason.UNREADABLE, Reason.WRONG_KIND, Reason.NO_KEY, Reason.STOPPED,
        Reason.INTERNAL,
    }
)  # fmt: skip
_SILENCE = frozenset({Reason.TIMEOUT, Reason.ABORTED})
_ADVICE = "mend the cause, then run: edge-runtime jobs retry"


@dataclass(frozen=True)
class Retry:
    """Waits after failures: the first, doubled each time up to the maximum; `jitter` gives numbers in [0, 1)."""

    first_seconds: float
    maximum_seconds: float
    jitter: Callable[[], float] = random.random

    def wait_seconds(self, failures: int, at_least_seconds: float) -> float:
        """How long to wait after that many failures, which count from 1."""
        return wait_seconds(failures, self.first_seconds, self.maximum_seconds, self.jitter(), at_least_seconds)


@dataclass(frozen=True)
class Heartbeat:
    """Told what the worker does: the item and the seconds that it is bound to take, or nothing."""

    on_progress: Callable[[str, float], None] = lambda _item, _bound_seconds: None
    on_idle: Callable[[], None] = lambda: None


class DeliveryWorker:
    """Sends what is due to one destination, job by job, and writes down what came of it.

    When the destination is found away, nothing else is tried until its own back-off has passed: one connection
    attempt a wait, however long the backlog. A deferred delivery is tried for ever; a parked one needs a person.
    """

    def __init__(
        self,
        destination: Destination,
        queue: DeliveryQueue,
        metrics: Metrics,
        retry: Retry,
        clock: Callable[[], float] = time.time,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._destination = destination
        self._queue = queue
        self._metrics = metrics
        self._retry = retry
        self._clock = clock
        self._heartbeat = heartbeat or Heartbeat()
        self._begun: dict[int, QueuedDelivery] = {}  # attempts whose end is not yet written down
        self._failed_rounds = 0
        self._closed_until = 0.0  # monotonic
        self._hint = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"deliver {destination.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self, retry_now: bool = False) -> None:
        """Hint that something is due; `retry_now` (a person asked) also ends the wait for an absent destination."""
        if retry_now:
            self._closed_until = 0.0
        self._hint.set()

    def stop(self, timeout_seconds: float) -> bool:
        """Let the send under way end, cut it short after `timeout_seconds`; True when the thread has ended."""
        self._stopping.set()
        self._hint.set()
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            self._destination.close()
            self._thread.join(1.0)
        return not self._thread.is_alive()

    def run_round(self) -> int:
        """Attempt what is due now and return how many deliveries were concluded. Raises what the queue raises."""
        self._settle()
        if time.monotonic() < self._closed_until:
            return 0
        name = self._destination.name
        concluded = 0
        for group in _by_job(self._queue.due(name, self._now(), _BATCH)):
            if self._stopping.is_set():
                break
            self._queue.begin([queued.delivery_id for queued in group])
            self._begun.update({queued.delivery_id: queued for queued in group})
            concluded += len(group)
            if not self._send(group):
                break
        return concluded

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self.run_round() == 0:
                    self._heartbeat.on_idle()
                    self._hint.wait(self._idle_seconds())
                    self._hint.clear()
            except Exception:  # the thread must outlive a queue that fails
                log.exception("delivery queue failed", extra={"event": self._count_error()})
                self._stopping.wait(_POLL_SECONDS)

    def _idle_seconds(self) -> float:
        due_at = self._queue.next_due_at(self._destination.name)
        if due_at is None:
            return _POLL_SECONDS
        wait = max(due_at - self._now(), self._closed_until - time.monotonic())
        return min(max(wait, _SHORTEST_WAIT_SECONDS), _POLL_SECONDS)

    def _now(self) -> float:
        """The time by which deliveries are due. No wait is longer than the maximum: else the clock was set back."""
        now = self._clock()
        due_at = self._queue.next_due_at(self._destination.name)
        if due_at is not None and due_at > now + self._retry.maximum_seconds + _CLOCK_STEP_SECONDS:
            return due_at
        return now

    def _send(self, group: Sequence[QueuedDelivery]) -> bool:
        """Send one job's parcels; False when the destination is away."""
        away: Delivery | None = None
        with contextlib.closing(self._attempts(group)) as attempts:
            for queued, delivery, seconds in attempts:
                if delivery.away and away is None:
                    away = delivery
                    self._close(delivery)
                self._conclude(queued, delivery, seconds)
        return away is None

    def _settle(self) -> None:
        """What was begun when the queue failed is sent again: once more is better than never."""
        for queued in list(self._begun.values()):
            self._finish(queued, Delivery(Outcome.DEFERRED, Reason.INTERNAL, "not written down"), self._clock())

    def _finish(self, queued: QueuedDelivery, delivery: Delivery, next_attempt_at: float | None) -> None:
        self._queue.finish(queued.delivery_id, delivery, next_attempt_at)
        del self._begun[queued.delivery_id]

    def _note_answer(self, delivery: Delivery) -> None:
        """Whether the destination is up, as far as this delivery tells."""
        if delivery.reason in _OUR_OWN:
            return
        answered = not delivery.away and delivery.reason not in _SILENCE
        if answered:
            self._failed_rounds = 0
        self._metrics.set("edge_destination_up", float(answered), destination=self._destination.name)

    def _close(self, delivery: Delivery) -> None:
        self._failed_rounds += 1
        wait = self._retry.wait_seconds(self._failed_rounds, delivery.retry_after_seconds)
        self._closed_until = time.monotonic() + wait

    def _attempts(self, group: Sequence[QueuedDelivery]) -> Attempts:
        sending = None
        try:
            for index, queued in enumerate(group):
                if self._stopping.is_set():
                    yield queued, Delivery(Outcome.DEFERRED, Reason.STOPPED), 0.0
                    continue
                bound = self._destination.bound_seconds(_size_bytes(queued.parcel))
                self._heartbeat.on_progress(f"delivery {queued.delivery_id}", bound)
                started = time.monotonic()
                try:
                    if sending is None:
                        sending = self._destination.send_many([rest.parcel for rest in group[index:]])
                    delivery = next(sending)
                except Exception as error:  # one object must not end the worker, nor keep the others back
                    sending = None
                    log.exception("delivery failed inside", extra={"event": self._count_error()})
                    delivery = Delivery(Outcome.DEFERRED, Reason.INTERNAL, type(error).__name__)
                yield queued, delivery, time.monotonic() - started
        finally:
            if sending is not None:
                sending.close()

    def _conclude(self, queued: QueuedDelivery, delivery: Delivery, seconds: float) -> None:
        name = self._destination.name
        attempts = queued.attempts + 1
        event = {
            "destination": name,
            "delivery": queued.delivery_id,
            "job": queued.parcel.job_id,
            "kind": queued.parcel.kind.value,
            "reason": delivery.reason.value,
            "detail": delivery.detail,
            "attempts": attempts,
            "seconds": round(seconds, 3),
        }
        next_attempt_at = None
        if delivery.outcome is Outcome.DEFERRED:
            wait = self._wait_seconds(delivery, attempts)
            next_attempt_at = self._clock() + wait
            event["retry_in_seconds"] = round(wait, 1)
        self._finish(queued, delivery, next_attempt_at)
        self._note_answer(delivery)
        outcome, reason = delivery.outcome.value, delivery.reason.value
        self._metrics.count("edge_deliveries_total", destination=name, outcome=outcome, reason=reason)
        if delivery.outcome is Outcome.DONE:
            self._metrics.observe("edge_delivery_seconds", seconds, destination=name)
            self._metrics.count("edge_delivered_bytes_total", _size_bytes(queued.parcel), destination=name)
            log.info("object delivered", extra={"event": event})
        elif delivery.outcome is Outcome.DEFERRED:
            log.warning("delivery deferred", extra={"event": event})
        else:
            log.error("delivery parked", extra={"event": {**event, "advice": _ADVICE}})

    def _wait_seconds(self, delivery: Delivery, attempts: int) -> float:
        if delivery.reason is Reason.STOPPED:
            return 0.0
        if delivery.away:
            return max(0.0, self._closed_until - time.monotonic())
        return self._retry.wait_seconds(attempts, delivery.retry_after_seconds)

    def _count_error(self) -> dict[str, str]:
        self._metrics.count("edge_delivery_errors_total", destination=self._destination.name)
        return {"destination": self._destination.name}


def _by_job(due: Sequence[QueuedDelivery]) -> list[list[QueuedDelivery]]:
    """Groups of one job, each in the order in which its objects are sent."""
    groups: dict[str, list[QueuedDelivery]] = {}
    for queued in due:
        groups.setdefault(queued.parcel.job_id, []).append(queued)
    return [sorted(group, key=lambda queued: SEND_ORDER.index(queued.parcel.kind)) for group in groups.values()]


def _size_bytes(parcel: Parcel) -> int:
    try:
        return parcel.path.stat().st_size
    except OSError:
        return 0
