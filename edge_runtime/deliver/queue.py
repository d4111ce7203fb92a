"""What the worker of a destination needs of the durable queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_runtime.deliver.base import Delivery, Parcel


@dataclass(frozen=True)
class QueuedDelivery:
    """One parcel for one destination. `attempts` counts those begun before."""

    delivery_id: int
    parcel: Parcel
    attempts: int


class DeliveryQueue(Protocol):
    """The durable queue. Times are Unix seconds. One worker a destination uses it.

    The worker finishes whatever it began; what a process that died left open must be due again after a start.
    """

    def due(self, destination: str, now: float, limit: int) -> Sequence[QueuedDelivery]:
        """The deliveries whose time has come, longest due first, at most `limit`."""

    def begin(self, delivery_ids: Sequence[int]) -> None:
        """Commit one more attempt of each, before it is made."""

    def finish(self, delivery_id: int, delivery: Delivery, next_attempt_at: float | None) -> None:
        """Commit what came of an attempt; `next_attempt_at` is None unless the outcome is DEFERRED."""

    def next_due_at(self, destination: str) -> float | None:
        """When the next delivery is due, in the past if one is; None when nothing waits."""
