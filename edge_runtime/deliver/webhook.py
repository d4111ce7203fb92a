"""Events to a webhook: one signed POST an event, with the same bytes at every attempt. See docs/webhook.md."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from edge_runtime import __version__
from edge_runtime.deliver.association import connect
from edge_runtime.deliver.base import (
    MINIMUM_BYTES_PER_SECOND,
    Delivery,
    Outcome,
    Parcel,
    Reason,
    SendFailed,
    network_bound_seconds,
)
from edge_runtime.deliver.part10 import open_verified
from edge_runtime.deliver.policy import seconds_of_retry_after
from edge_runtime.result_objects import ResultKind

SHORTEST_KEY_BYTES = 16
_LONGEST_KEY_BYTES = 4096
_FORBIDDEN_MODE = stat.S_IWGRP | stat.S_IRWXO


@dataclass(frozen=True)
class Hook:
    """Where events go and what they are signed with. `ca_file`: a private authority; None, those of the system."""

    url: str
    secret_file: Path
    ca_file: Path | None = None


class WebhookDestination:
    """A receiver of events. Redirects are not followed, no proxy is used, TLS certificates are verified."""

    def __init__(self, name: str, hook: Hook, timeout_seconds: float) -> None:
        self._name = name
        self._hook = hook
        self._timeout_seconds = timeout_seconds
        self._socket: socket.socket | None = None

    @property
    def name(self) -> str:
        """The destination's name in the configuration."""
        return self._name

    def bound_seconds(self, size_bytes: int) -> float:
        """See `Destination`."""
        return network_bound_seconds(size_bytes, self._timeout_seconds)

    def send_many(self, parcels: Sequence[Parcel]) -> Generator[Delivery, None, None]:
        """One connection an event. The key is read each time, so that it can be changed without a restart."""
        away: Delivery | None = None
        for parcel in parcels:
            try:
                body = _body(parcel)
                delivery = away or self._post(body)
            except SendFailed as failure:
                delivery = failure.delivery
            away = away or (delivery if delivery.away else None)
            yield delivery

    def close(self) -> None:
        """Give up what is being sent, as deferred. May come from another thread."""
        stream = self._socket
        if stream is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(stream, socket.SHUT_RDWR)  # not SSLSocket's, which would go on in the clear

    def probe(self) -> Delivery:
        """Connect, shake hands where it is TLS, and send nothing; also reads the key."""
        try:
            read_key(self._hook.secret_file)
            return self._within_time(None, {})
        except SendFailed as failure:
            return failure.delivery

    def _post(self, body: bytes) -> Delivery:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"edge-runtime/{__version__}",
            "Idempotency-Key": hashlib.sha256(body).hexdigest(),
            "Edge-Signature": signature(read_key(self._hook.secret_file), int(time.time()), body),
            "Connection": "close",
        }
        return self._within_time(body, headers)

    def _within_time(self, body: bytes | None, headers: dict[str, str]) -> Delivery:
        context = _tls(self._hook)
        seconds = 2 * self._timeout_seconds + len(body or b"") / MINIMUM_BYTES_PER_SECOND
        deadline = time.monotonic() + seconds
        limit = threading.Timer(seconds, self.close)  # of all together: the socket's own timeout is for each step
        limit.start()
        try:
            delivery = self._exchange(body, headers, context)
            if time.monotonic() >= deadline:  # cut short by us, perhaps within the answer's head
                raise TimeoutError
            return delivery
        except (OSError, HTTPException) as error:
            return _delivery_of_error(error, time.monotonic() >= deadline)
        finally:
            limit.cancel()
            self._socket = None

    def _exchange(self, body: bytes | None, headers: dict[str, str], context: ssl.SSLContext | None) -> Delivery:
        url = urlsplit(self._hook.url)
        host = url.hostname or ""
        port = url.port or (80 if context is None else 443)
        stream = connect(host, port, self._timeout_seconds)
        stream.settimeout(self._timeout_seconds)
        http = HTTPConnection(host, port) if context is None else HTTPSConnection(host, port, context=context)
        if context is not None:
            stream = context.wrap_socket(stream, server_hostname=host, do_handshake_on_connect=False)
        with contextlib.closing(stream):
            self._socket = stream
            if isinstance(stream, ssl.SSLSocket):
                stream.do_handshake()
            if body is None:
                return Delivery(Outcome.DONE, Reason.STORED, "reachable")
            http.sock = stream
            http.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
            with http.getresponse() as response:
                later = seconds_of_retry_after(response.headers.get("Retry-After"), time.time())
                return delivery_of_answer(response.status, later)


def signature(key: bytes, timestamp: int, body: bytes) -> str:
    """The value of `Edge-Signature`: Unix seconds, and HMAC-SHA256 (RFC 2104, hex) over them, a dot and the body."""
    digest = hmac.new(key, str(timestamp).encode("ascii") + b"." + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def delivery_of_answer(status: int, retry_after_seconds: float = 0.0) -> Delivery:
    """What an HTTP status means for an event. Total: what is not known to pass is left to a person."""
    detail = f"HTTP {status}"
    if 200 <= status <= 299:
        return Delivery(Outcome.DONE, Reason.STORED, detail)
    if status in (408, 425, 429) or status >= 500:
        away = status not in (408, 425, 500)
        return Delivery(Outcome.DEFERRED, Reason.HTTP_STATUS, detail, away, retry_after_seconds)
    if status in (401, 403, 407):
        return Delivery(Outcome.PARKED, Reason.NOT_AUTHORISED, f"{detail}; has the receiver the same key?")
    if 300 <= status <= 399:
        detail += "; redirects are not followed, give the final address as url"
    return Delivery(Outcome.PARKED, Reason.HTTP_STATUS, detail)


def read_key(file: Path) -> bytes:
    """The key of the signature: the file's bytes without white space at its end.

    Raises:
        SendFailed: the file is missing, readable by every user, writable by others, too short or too long.
    """
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            key = stream.read(_LONGEST_KEY_BYTES + 1).rstrip()
    except OSError as error:
        raise _no_key(f"cannot be read: {error.strerror}") from None
    if mode & _FORBIDDEN_MODE:
        raise _no_key(f"has mode {stat.S_IMODE(mode):04o}, so that others can read or change it; chmod 0600")
    if not SHORTEST_KEY_BYTES <= len(key) <= _LONGEST_KEY_BYTES:
        raise _no_key(f"holds {len(key)} bytes; a key has {SHORTEST_KEY_BYTES} to {_LONGEST_KEY_BYTES}")
    return key


def _no_key(what: str) -> SendFailed:
    return SendFailed(Delivery(Outcome.DEFERRED, Reason.NO_KEY, f"secret_file {what}", True, math.inf))


def _tls(hook: Hook) -> ssl.SSLContext | None:
    if not hook.url.startswith("https://"):
        return None
    try:
        return ssl.create_default_context(cafile=None if hook.ca_file is None else str(hook.ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise _untrusted(f"ca_file cannot be used: {error.strerror or type(error).__name__}") from None


def _body(parcel: Parcel) -> bytes:
    if parcel.kind is not ResultKind.EVENT:
        detail = f"{parcel.kind.value} does not go to a webhook"
        raise SendFailed(Delivery(Outcome.PARKED, Reason.WRONG_KIND, detail))
    with open_verified(parcel) as file:
        return file.read()


def _untrusted(detail: str) -> SendFailed:
    return SendFailed(Delivery(Outcome.DEFERRED, Reason.AWAY, detail, True, math.inf))


def _delivery_of_error(error: Exception, overdue: bool) -> Delivery:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(f"TLS failed: the certificate is not trusted: {error.verify_message}").delivery
    if overdue or isinstance(error, TimeoutError):
        return Delivery(Outcome.DEFERRED, Reason.TIMEOUT, "no answer in time")
    if isinstance(error, ssl.SSLError):
        return _untrusted(f"TLS failed: {error.reason or type(error).__name__}").delivery
    return Delivery(Outcome.DEFERRED, Reason.ABORTED, f"the connection broke: {type(error).__name__}")
