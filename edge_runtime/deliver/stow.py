"""The Store transaction of DICOMweb (PS3.18 10.5), pure: the request's body and the response's meaning."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from edge_runtime.deliver.base import Delivery, Outcome, Reason
from edge_runtime.deliver.policy import delivery_of_status

_FAILURE_REASON, _WARNING_REASON = "00081197", "00081196"
_FAILED, _REFERENCED, _OTHER_FAILURES = "00081198", "00081199", "0008119A"
_REFERENCED_SOP_INSTANCE_UID = "00081155"


def multipart_head(boundary: str) -> bytes:
    """What stands before the only part of the body (RFC 2387)."""
    return f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")


def multipart_tail(boundary: str) -> bytes:
    """What stands after the only part of the body."""
    return f"\r\n--{boundary}--\r\n".encode("ascii")


def delivery_of_response(status: int, body: bytes, sop_instance_uid: str) -> Delivery:
    """What a Store Instances Response (PS3.18 I.2) says of one object.

    An HTTP success is not enough: the object must stand in the Referenced SOP Sequence. A response that does not
    name it is no confirmation, and the object is sent again.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return _unconfirmed(status, "the body is no DICOM JSON")
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    if not isinstance(answer, dict):
        return _unconfirmed(status, "the body is no DICOM JSON")
    for item in _items(answer, _FAILED):
        if _first(item, _REFERENCED_SOP_INSTANCE_UID) in (sop_instance_uid, None):
            return _failed(status, item)
    for item in _items(answer, _REFERENCED):
        if _first(item, _REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid:
            warning = _first(item, _WARNING_REASON)
            reason = Reason.STORED if warning is None else Reason.WARNING
            return Delivery(Outcome.DONE, reason, _detail(status, warning))
    for item in _items(answer, _OTHER_FAILURES):
        return _failed(status, item)
    return _unconfirmed(status, "the response does not name the object")


def _items(answer: dict[str, Any], tag: str) -> Iterator[dict[str, Any]]:
    element = answer.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    for item in values if isinstance(values, list) else ():
        if isinstance(item, dict):
            yield item


def _first(item: dict[str, Any], tag: str) -> Any:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _failed(status: int, item: dict[str, Any]) -> Delivery:
    reason = _first(item, _FAILURE_REASON)
    code = reason if type(reason) is int and 0 <= reason <= 0xFFFF else 0
    known = delivery_of_status(code)
    if known.outcome is Outcome.DONE and known.reason is not Reason.DUPLICATE:  # no failure reason at all
        return Delivery(Outcome.PARKED, Reason.FAILED_SOP_SEQUENCE, _detail(status, reason))
    return replace(known, detail=_detail(status, reason))


def _unconfirmed(status: int, what: str) -> Delivery:
    detail = f"HTTP {status}, {what}; is the address that of a STOW-RS service?"
    return Delivery(Outcome.DEFERRED, Reason.UNCONFIRMED, detail, retry_after_seconds=math.inf)


def _detail(status: int, code: object) -> str:
    return f"HTTP {status}, reason 0x{code:04X}" if isinstance(code, int) else f"HTTP {status}"
