"""The policy of delivery, pure: when to try again, and what the statuses of peers mean."""

from __future__ import annotations

import math
from datetime import timezone
from email.utils import parsedate_to_datetime

from edge_runtime.deliver.base import Delivery, Outcome, Reason
from edge_runtime.result_objects import ResultKind

# An SR references the SEG of its job, so the SEG goes first.
SEND_ORDER = (ResultKind.SEG, ResultKind.SR, ResultKind.OVERLAY, ResultKind.JSON, ResultKind.EVENT)

_JITTER = 0.25
_MAXIMUM_DOUBLINGS = 60
_SINGLE_STATUSES = {
    0x0000: (Outcome.DONE, Reason.STORED),
    0x0001: (Outcome.DONE, Reason.WARNING),
    0x0107: (Outcome.DONE, Reason.WARNING),
    0x0110: (Outcome.DEFERRED, Reason.PROCESSING_FAILURE),
    0x0111: (Outcome.DONE, Reason.DUPLICATE),
    0x0116: (Outcome.DONE, Reason.WARNING),
    0x0122: (Outcome.PARKED, Reason.REFUSED_CONTEXT),
    0x0124: (Outcome.DEFERRED, Reason.NOT_AUTHORISED),
    0x0213: (Outcome.DEFERRED, Reason.OUT_OF_RESOURCES),
}
_STATUS_RANGES = (
    (0xA700, 0xA7FF, Outcome.DEFERRED, Reason.OUT_OF_RESOURCES),
    (0xA900, 0xA9FF, Outcome.PARKED, Reason.DATA_SET_MISMATCH),
    (0xB000, 0xBFFF, Outcome.DONE, Reason.WARNING),
    (0xC000, 0xCFFF, Outcome.PARKED, Reason.CANNOT_UNDERSTAND),
)
_HTTP_OF_THE_OBJECT = frozenset({400, 413, 415, 422})
_HTTP_TRY_AGAIN = frozenset({408, 425, 500})
_HTTP_BUSY = frozenset({429, 502, 503, 504})


def wait_seconds(
    attempts: int, first_seconds: float, maximum_seconds: float, jitter: float, at_least_seconds: float = 0.0
) -> float:
    """How long to wait after the `attempts`-th failure, which counts from 1.

    Doubles from `first_seconds`, less up to a quarter for `jitter` in [0, 1), never over `maximum_seconds`.
    """
    doublings = min(max(attempts, 1) - 1, _MAXIMUM_DOUBLINGS)
    wait = min(first_seconds * 2.0**doublings, maximum_seconds) * (1.0 - _JITTER * jitter)
    return min(max(wait, at_least_seconds), maximum_seconds)


def next_attempt_at(
    now: float,
    attempts: int,
    first_seconds: float,
    maximum_seconds: float,
    jitter: float,
    at_least_seconds: float = 0.0,
) -> float:
    """Unix time of the attempt that follows the `attempts`-th failure; see `wait_seconds`."""
    return now + wait_seconds(attempts, first_seconds, maximum_seconds, jitter, at_least_seconds)


def delivery_of_status(status: int) -> Delivery:
    """What a DIMSE status or a STOW Failure Reason means (PS3.7 Annex C, PS3.4 B.2.3, PS3.18 10.5). Total.

    Processing failure (0x0110) and not authorised (0x0124) are the site's to mend, so they are tried again.
    """
    outcome, reason = _SINGLE_STATUSES.get(status, (Outcome.PARKED, Reason.REFUSED))
    for first, last, range_outcome, range_reason in _STATUS_RANGES:
        if first <= status <= last:
            outcome, reason = range_outcome, range_reason
    later = math.inf if reason is Reason.NOT_AUTHORISED else 0.0
    return Delivery(outcome, reason, f"status 0x{status:04X}", retry_after_seconds=later)


CALLED_UNKNOWN = "called AE title not recognized"
CALLING_UNKNOWN = "calling AE title not recognized"
_REJECTIONS = {
    (1, 2): "application context name not supported",
    (1, 3): CALLING_UNKNOWN,
    (1, 7): CALLED_UNKNOWN,
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""The words of PS3.8 table 9-21, by source and reason."""


def delivery_of_rejection(result: int, source: int, reason: int) -> Delivery:
    """What an A-ASSOCIATE-RJ means (PS3.8 9.3.4). Even a permanent one is tried again: the site may mend it."""
    later = 0.0 if result == 2 else math.inf
    words = _REJECTIONS.get((source, reason), "no reason given")
    detail = f"association rejected: {words} (result {result} source {source} reason {reason})"
    return Delivery(Outcome.DEFERRED, Reason.REFUSED_ASSOCIATION, detail, away=True, retry_after_seconds=later)


def delivery_of_http(status: int, retry_after_seconds: float = 0.0) -> Delivery | None:
    """What an HTTP status says without its body; None where the body must tell (2xx and 409, PS3.18 10.5.3). Total.

    Only a status that speaks of the object parks it. What speaks of the site (a login, an address) waits long.
    """
    detail = f"HTTP {status}"
    if 200 <= status <= 299 or status == 409:
        return None
    if status in _HTTP_OF_THE_OBJECT:
        return Delivery(Outcome.PARKED, Reason.HTTP_STATUS, detail)
    if status in _HTTP_TRY_AGAIN:
        return Delivery(Outcome.DEFERRED, Reason.HTTP_STATUS, detail)
    if status in _HTTP_BUSY:
        return Delivery(Outcome.DEFERRED, Reason.HTTP_STATUS, detail, True, retry_after_seconds)
    if status == 507:
        return Delivery(Outcome.DEFERRED, Reason.OUT_OF_RESOURCES, detail, True, retry_after_seconds)
    reason = Reason.NOT_AUTHORISED if status in (401, 403, 407) else Reason.HTTP_STATUS
    return Delivery(Outcome.DEFERRED, reason, detail, True, math.inf)


def seconds_of_retry_after(value: str | None, now: float) -> float:
    """The seconds that a Retry-After header asks for, as number or date (RFC 9110 10.2.3); 0 where it says nothing."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)
        return max(0.0, date.timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
