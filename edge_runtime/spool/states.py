"""What an instance, a job and a delivery can be, as tables: (state, event) -> state. Nothing else changes a state."""

from __future__ import annotations

from collections.abc import Mapping

from edge_runtime.errors import StepRefused

Table = Mapping[tuple[str, str], str]

INSTANCE: Table = {
    ("stored", "match"): "matched",
    ("stored", "no_match"): "unmatched",
    ("stored", "same_bytes"): "duplicate",
    ("stored", "own"): "own_result",
    ("stored", "bad"): "quarantined",
    ("unmatched", "resent"): "duplicate",
    ("matched", "retire"): "retired",
    ("unmatched", "retire"): "retired",
    ("duplicate", "retire"): "retired",
    ("own_result", "retire"): "retired",
    ("quarantined", "retire"): "retired",
}

JOB: Table = {
    ("collecting", "instance"): "collecting",
    ("collecting", "quiet"): "pending",
    ("collecting", "cancel"): "cancelled",
    ("pending", "instance"): "collecting",
    ("pending", "begin"): "running",
    ("pending", "park"): "parked",
    ("pending", "cancel"): "cancelled",
    ("running", "conclude"): "concluded",
    ("running", "refuse"): "refused",
    ("running", "interrupt"): "pending",
    ("running", "yield"): "pending",
    ("running", "defer"): "pending",
    ("running", "park"): "parked",
    ("concluded", "report"): "reporting",
    ("concluded", "park"): "parked",
    ("concluded", "cancel"): "cancelled",
    ("reporting", "commit"): "reported",
    ("reporting", "interrupt"): "concluded",
    ("reporting", "yield"): "concluded",
    ("reporting", "defer"): "concluded",
    ("reporting", "park"): "parked",
    ("reported", "delivered"): "delivered",
    ("reported", "cancel"): "cancelled",
    ("parked", "retry_inference"): "pending",
    ("parked", "retry_report"): "concluded",
    ("parked", "cancel"): "cancelled",
    ("refused", "retry_inference"): "pending",
    ("refused", "cancel"): "cancelled",
    ("refused", "retire"): "retired",
    ("delivered", "retire"): "retired",
    ("cancelled", "retire"): "retired",
}

DELIVERY: Table = {
    ("queued", "begin"): "sending",
    ("queued", "cancel"): "cancelled",
    ("sending", "done"): "done",
    ("sending", "defer"): "queued",
    ("sending", "interrupt"): "queued",
    ("sending", "park"): "parked",
    ("parked", "retry"): "queued",
    ("parked", "cancel"): "cancelled",
}

JOB_STATES = tuple(sorted({state for state, _ in JOB} | set(JOB.values())))
INSTANCE_STATES = tuple(sorted({state for state, _ in INSTANCE} | set(INSTANCE.values())))
DELIVERY_STATES = tuple(sorted({state for state, _ in DELIVERY} | set(DELIVERY.values())))

JOB_ENDED = ("cancelled", "delivered", "refused", "retired")


def after(table: Table, state: str, event: str, item: str) -> str:
    """The state that follows.

    Raises:
        StepRefused: the table has no such step; the item stays what it is.
    """
    try:
        return table[state, event]
    except KeyError:
        possible = ", ".join(sorted(e for s, e in table if s == state)) or "nothing"
        raise StepRefused(f"{item} is {state}: {event} is not possible there, only {possible}") from None
