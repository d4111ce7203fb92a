"""Results to a DICOMweb service by STOW-RS (PS3.18 10.5)."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Generator, Iterator, Sequence

import requests

from edge_runtime.deliver.base import (
    MINIMUM_BYTES_PER_SECOND,
    Delivery,
    Outcome,
    Parcel,
    Reason,
    SendFailed,
    network_bound_seconds,
)
from edge_runtime.deliver.part10 import Part10, open_part10
from edge_runtime.deliver.policy import delivery_of_http, seconds_of_retry_after
from edge_runtime.deliver.stow import delivery_of_response, multipart_head, multipart_tail

_BLOCK_BYTES = 65_536
_LARGEST_RESPONSE_BYTES = 1 << 16


class DicomWebDestination:
    """A STOW-RS service: one request an object, so that each has its own answer. TLS certificates are verified."""

    def __init__(self, name: str, url: str, timeout_seconds: float) -> None:
        self._name = name
        self._url = url.rstrip("/") + "/studies"
        self._timeout_seconds = timeout_seconds

    @property
    def name(self) -> str:
        """The destination's name in the configuration."""
        return self._name

    def bound_seconds(self, size_bytes: int) -> float:
        """See `Destination`."""
        return network_bound_seconds(size_bytes, self._timeout_seconds)

    def send_many(self, parcels: Sequence[Parcel]) -> Generator[Delivery, None, None]:
        """Send over one connection that is kept open."""
        away: Delivery | None = None
        with requests.Session() as session:
            for parcel in parcels:
                try:
                    part10 = open_part10(parcel)
                except SendFailed as failure:
                    yield failure.delivery
                    continue
                with part10.file:
                    delivery = away or self._store(session, part10)
                away = delivery if delivery.away else None
                yield delivery

    def close(self) -> None:
        """Nothing to do: a request ends within its timeouts."""

    def _store(self, session: requests.Session, part10: Part10) -> Delivery:
        boundary = secrets.token_hex(16)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        body = _Body(part10, boundary, self._timeout_seconds)
        try:
            with session.post(
                self._url,
                data=body,
                headers=headers,
                timeout=self._timeout_seconds,
                allow_redirects=False,  # a redirected POST becomes a GET
                stream=True,
            ) as response:
                later = seconds_of_retry_after(response.headers.get("Retry-After"), time.time())
                known = delivery_of_http(response.status_code, later)
                if known is not None:
                    return known
                answer = _read(response, time.monotonic() + self._timeout_seconds)
                return delivery_of_response(response.status_code, answer, part10.sop_instance_uid)
        except (requests.RequestException, TimeoutError) as error:
            return _delivery_of_error(error)


class _Body:
    """The request's body, streamed; its length is known, since not every server takes chunks without one."""

    def __init__(self, part10: Part10, boundary: str, timeout_seconds: float) -> None:
        self._part10 = part10
        self._head, self._tail = multipart_head(boundary), multipart_tail(boundary)
        self._seconds = timeout_seconds + part10.size_bytes / MINIMUM_BYTES_PER_SECOND

    def __len__(self) -> int:
        return len(self._head) + self._part10.size_bytes + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        deadline = time.monotonic() + self._seconds
        yield self._head
        self._part10.file.seek(0)
        while block := self._part10.file.read(_BLOCK_BYTES):
            if time.monotonic() > deadline:
                raise TimeoutError
            yield block
        yield self._tail


def _read(response: requests.Response, deadline: float) -> bytes:
    """The response's body. Byte by byte, since a larger read waits until it is full, past any deadline."""
    answer = bytearray()
    for byte in response.iter_content(1):
        answer += byte
        if len(answer) > _LARGEST_RESPONSE_BYTES:
            return b""
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(answer)


def _delivery_of_error(error: Exception) -> Delivery:
    """An exception of requests as a Delivery. Its text is not used: it may hold what the address holds."""
    kinds = {type(cause).__name__ for cause in _causes(error)}
    if isinstance(error, requests.exceptions.SSLError):
        detail = "TLS failed: the certificate is not trusted, or this is no TLS port"
        return Delivery(Outcome.DEFERRED, Reason.AWAY, detail, away=True, retry_after_seconds=math.inf)
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)) or "NewConnectionError" in kinds:
        return Delivery(Outcome.DEFERRED, Reason.AWAY, f"cannot connect: {type(error).__name__}", away=True)
    if isinstance(error, (requests.Timeout, TimeoutError)) or kinds & {"TimeoutError", "ReadTimeoutError"}:
        return Delivery(Outcome.DEFERRED, Reason.TIMEOUT, "no answer in time")
    return Delivery(Outcome.DEFERRED, Reason.ABORTED, f"the connection broke: {type(error).__name__}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps, as argument, `reason` or context."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
        waiting += [item for item in inner if isinstance(item, BaseException)]
