"""Messages between the runtime and its decode processes: a length, then JSON, over a stream socket."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

_LENGTH = struct.Struct(">I")
MAXIMUM_MESSAGE_BYTES = 64_000_000


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message."""
    body = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive(connection: socket.socket, timeout_seconds: float | None) -> dict[str, Any]:
    """Wait for one message. Raises EOFError when the peer is gone or sends nonsense, TimeoutError when it is late."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size, deadline))
    if length > MAXIMUM_MESSAGE_BYTES:
        raise EOFError(f"a message of {length} bytes")
    try:
        message = json.loads(_exactly(connection, length, deadline))
    except ValueError as error:
        raise EOFError("a message that is no JSON") from error
    if not isinstance(message, dict):
        raise EOFError("a message that is no JSON object")
    return message


def _exactly(connection: socket.socket, count: int, deadline: float | None) -> bytes:
    parts, missing = [], count
    while missing:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError("no answer in time")
        connection.settimeout(left)
        try:
            part = connection.recv(min(missing, 1 << 20))
        except ConnectionError as error:
            raise EOFError("the peer is gone") from error
        if not part:
            raise EOFError("the peer is gone")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
