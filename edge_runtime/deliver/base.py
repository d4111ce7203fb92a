"""What is delivered, what came of it, and what every destination does."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from edge_runtime.errors import DeliveryError
from edge_runtime.result_objects import ResultKind

MINIMUM_BYTES_PER_SECOND = 10_000  # a transfer slower than this is cut off
NAME_LOOKUP_SECONDS = 60.0  # what the system's resolver may take; it knows no timeout of ours


class Outcome(Enum):
    """What becomes of a delivery: done for good, tried again later, or left until a person retries it."""

    DONE = "done"
    DEFERRED = "deferred"
    PARKED = "parked"


class Reason(Enum):
    """Why a delivery has its outcome. The values are metric labels: a closed set."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    WARNING = "warning"
    AWAY = "away"  # no connection
    TIMEOUT = "timeout"  # no answer in time
    ABORTED = "aborted"  # the connection broke, or the peer broke the protocol
    REFUSED_ASSOCIATION = "refused_association"
    REFUSED_CONTEXT = "refused_context"
    NOT_AUTHORISED = "not_authorised"
    OUT_OF_RESOURCES = "out_of_resources"
    PROCESSING_FAILURE = "processing_failure"
    DATA_SET_MISMATCH = "data_set_mismatch"
    CANNOT_UNDERSTAND = "cannot_understand"
    REFUSED = "refused"  # any other failure status
    HTTP_STATUS = "http_status"
    FAILED_SOP_SEQUENCE = "failed_sop_sequence"  # the STOW response lists the object as failed and says no reason
    UNCONFIRMED = "unconfirmed"  # an HTTP success that does not name the object
    DISK_FULL = "disk_full"
    CONFLICT = "conflict"  # other bytes are there under the same name
    ALTERED = "altered"  # the file is not the one that was made
    MISSING = "missing"
    UNREADABLE = "unreadable"
    WRONG_KIND = "wrong_kind"  # JSON for a DICOM destination
    NO_KEY = "no_key"  # the secret that events are signed with cannot be had
    STOPPED = "stopped"  # the worker stopped before this one's turn
    INTERNAL = "internal"


@dataclass(frozen=True)
class Parcel:
    """One durable result file on its way. `path` is where its bytes are, `sha256` (hex) what they were when made."""

    job_id: str
    kind: ResultKind
    path: Path
    sha256: str
    sop_class_uid: str | None
    sop_instance_uid: str | None
    file_name: str

    def __post_init__(self) -> None:
        for text in (self.job_id, self.file_name):
            if text in ("", ".", "..") or "/" in text or "\0" in text:
                raise ValueError(f"a job id and a file name are plain names, got {text!r}")


@dataclass(frozen=True)
class Delivery:
    """What came of one attempt. `detail` is for the log and holds no patient data.

    `away` says that the destination takes nothing now, so that the rest of the round is not tried.
    `retry_after_seconds` is the least time to wait; infinity means as late as the configuration allows.
    """

    outcome: Outcome
    reason: Reason
    detail: str = ""
    away: bool = False
    retry_after_seconds: float = 0.0


class SendFailed(DeliveryError):
    """An attempt ended early; `delivery` says how."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(f"{delivery.reason.value}: {delivery.detail}")
        self.delivery = delivery


class Destination(Protocol):
    """Somewhere that results go. One thread uses it; `close` may come from another and cuts a send short."""

    @property
    def name(self) -> str:
        """The destination's name in the configuration."""

    def send_many(self, parcels: Sequence[Parcel]) -> Generator[Delivery, None, None]:
        """Send in the order given, over one connection where it holds; one Delivery a parcel, in that order.

        Each is yielded as soon as it is known. A failure of one object never fails another. Nothing is raised
        for what a peer does.
        """

    def bound_seconds(self, size_bytes: int) -> float:
        """The longest that one step of `send_many` takes for an object of that size, all timeouts together."""

    def close(self) -> None:
        """Give up what is being sent, as deferred."""


def network_bound_seconds(size_bytes: int, timeout_seconds: float) -> float:
    """The longest that one object takes over a network: looking up, connecting, sending, the answer, releasing."""
    return NAME_LOOKUP_SECONDS + 6 * timeout_seconds + size_bytes / MINIMUM_BYTES_PER_SECOND
