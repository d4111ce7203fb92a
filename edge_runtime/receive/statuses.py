"""The only place where an error becomes a DIMSE status (PS3.4 table B.2-1, PS3.7 annex C)."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import Refused, SpoolError


@dataclass(frozen=True)
class Status:
    """A status code, the comment that goes with it, and its name in logs and metrics."""

    code: int
    result: str
    comment: str = ""


SUCCESS = Status(0x0000, "stored")
ECHOED = Status(0x0000, "echoed")
OUT_OF_RESOURCES = Status(0xA700, "out_of_resources", "no room to store the instance durably")
PROCESSING_FAILURE = Status(0x0110, "processing_failure", "internal error, see the receiver's log")
UNRECOGNIZED_OPERATION = Status(0x0211, "unrecognized_operation", "only C-STORE and C-ECHO are offered")

_REFUSALS = (
    # PS3.7 C.5.6: the class is not one that was negotiated for the context; a retry on it is useless
    Status(0x0122, "class_not_of_context", "SOP class is not that of the presentation context"),
    Status(0xA900, "identity_differs", "command and data set state different SOP UIDs"),
    Status(0xC001, "invalid_uid", "SOP class or instance UID of the command is invalid"),
    Status(0xC002, "identity_unreadable", "data set does not state its SOP UIDs"),
    Status(0xC003, "no_data_set", "C-STORE without a data set"),
)
REFUSALS = {status.result: status for status in _REFUSALS}
STORE_RESULTS = ("stored", "out_of_resources", "processing_failure", *REFUSALS, "interrupted")


def status_of(error: Exception) -> Status:
    """The status that tells a sender why its instance was not stored."""
    if isinstance(error, Refused):
        return REFUSALS[error.reason]
    if isinstance(error, SpoolError):
        return OUT_OF_RESOURCES
    return PROCESSING_FAILURE
