"""The PDUs of the upper layer (PS3.8 section 9.3) that a receiver reads and writes. Pure; bytes in, values out.

Decoding is strict and bounded: whatever the bytes, the outcome is a value or a ProtocolError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from edge_runtime.errors import EdgeRuntimeError

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
HEADER_BYTES = 6
ASSOCIATE_LIMIT_BYTES = 262_144  # of an A-ASSOCIATE-RQ; 128 contexts with 14 syntaxes each take about 60 KB
MAXIMUM_CONTEXTS = 128
_FIXED_BYTES = 68


class PduType(IntEnum):
    """PDU types (PS3.8 table 9-1 and following)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class AbortReason(IntEnum):
    """Reasons of a service provider's A-ABORT (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class ProtocolError(EdgeRuntimeError):
    """The peer broke the protocol. `reason` comes from a closed set; `abort` goes into the A-ABORT."""

    def __init__(self, reason: str, detail: str, abort: AbortReason = AbortReason.INVALID_PARAMETER) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.abort = abort


@dataclass(frozen=True)
class ProposedContext:
    """A presentation context as offered (PS3.8 section 9.3.2.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class AnsweredContext:
    """Our answer to a presentation context (PS3.8 section 9.3.3.2): result 0 accepts."""

    id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ. `maximum_pdu_bytes` 0 means no limit; `asynchronous` tells that a window was proposed."""

    protocol_version: int
    called_ae_title: str
    calling_ae_title: str
    application_context: str
    contexts: tuple[ProposedContext, ...]
    maximum_pdu_bytes: int
    asynchronous: bool


def decode_header(header: bytes) -> tuple[int, int]:
    """PDU type and length of what follows, from 6 bytes. The caller checks both before it reads on."""
    kind, length = struct.unpack(">BxI", header)
    return kind, length


def _malformed(detail: str) -> ProtocolError:
    return ProtocolError("malformed_associate", detail)


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The (type, value) items that `data` consists of."""
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise _malformed("an item's header is cut")
        kind, length = struct.unpack_from(">BxH", data, position)
        position += 4
        if position + length > len(data):
            raise _malformed("an item is longer than what holds it")
        yield kind, data[position : position + length]
        position += length


def _text(value: bytes) -> str:
    try:
        text = value.decode("ascii").strip("\0 ")
    except UnicodeDecodeError as error:
        raise _malformed("a name is not ASCII") from error
    if not text.isprintable():
        raise _malformed("a name has control characters")
    return text


def _context(value: bytes) -> ProposedContext:
    if len(value) < 4:
        raise _malformed("a presentation context is cut")
    names: dict[int, list[str]] = {0x30: [], 0x40: []}
    for kind, name in _items(value[4:]):
        if kind in names:
            names[kind].append(_text(name))
    if len(names[0x30]) != 1 or not names[0x40]:
        raise _malformed("a presentation context needs one abstract syntax and a transfer syntax")
    return ProposedContext(value[0], names[0x30][0], tuple(names[0x40]))


def decode_associate_request(body: bytes) -> AssociateRequest:
    """Decode an A-ASSOCIATE-RQ, without its 6 bytes of header (PS3.8 section 9.3.2).

    Raises:
        ProtocolError: malformed.
    """
    if len(body) < _FIXED_BYTES:
        raise _malformed("the request is cut")
    application_context, contexts, user_items = "", list[ProposedContext](), dict[int, bytes]()
    for kind, value in _items(body[_FIXED_BYTES:]):
        if kind == 0x10:
            application_context = _text(value)
        elif kind == 0x20:
            contexts.append(_context(value))
        elif kind == 0x50:
            user_items.update(_items(value))
    ids = [context.id for context in contexts]
    if len(set(ids)) != len(ids) or len(ids) > MAXIMUM_CONTEXTS or any(number % 2 == 0 for number in ids):
        raise _malformed("ids of presentation contexts are odd and unique")
    length = user_items.get(0x51, bytes(4))
    if len(length) != 4:
        raise _malformed("the maximum length item is not 4 bytes")
    return AssociateRequest(
        protocol_version=int.from_bytes(body[:2], "big"),
        called_ae_title=_text(body[4:20]),
        calling_ae_title=_text(body[20:36]),
        application_context=application_context,
        contexts=tuple(contexts),
        maximum_pdu_bytes=int.from_bytes(length, "big"),
        asynchronous=0x53 in user_items,
    )


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _pdu(kind: PduType, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def encode_associate_accept(
    request: AssociateRequest,
    contexts: tuple[AnsweredContext, ...],
    maximum_pdu_bytes: int,
    implementation: tuple[str, str],
) -> bytes:
    """An A-ASSOCIATE-AC (PS3.8 section 9.3.3). `implementation` is class UID and version name.

    A proposed asynchronous window is answered with 1/1; roles and user identity are not answered: defaults hold.
    """
    class_uid, version_name = implementation
    answers = b"".join(
        _item(0x21, bytes((c.id, 0, c.result, 0)) + _item(0x40, c.transfer_syntax.encode("ascii"))) for c in contexts
    )
    user = _item(0x51, maximum_pdu_bytes.to_bytes(4, "big")) + _item(0x52, class_uid.encode("ascii"))
    if request.asynchronous:
        user += _item(0x53, struct.pack(">HH", 1, 1))
    user += _item(0x55, version_name.encode("ascii"))
    titles = request.called_ae_title.encode("ascii").ljust(16) + request.calling_ae_title.encode("ascii").ljust(16)
    head = struct.pack(">HH", 1, 0) + titles + bytes(32)
    body = head + _item(0x10, APPLICATION_CONTEXT.encode("ascii")) + answers + _item(0x50, user)
    return _pdu(PduType.ASSOCIATE_AC, body)


def encode_associate_reject(result: int, source: int, reason: int) -> bytes:
    """An A-ASSOCIATE-RJ (PS3.8 section 9.3.4)."""
    return _pdu(PduType.ASSOCIATE_RJ, bytes((0, result, source, reason)))


def encode_release_response() -> bytes:
    """An A-RELEASE-RP (PS3.8 section 9.3.7)."""
    return _pdu(PduType.RELEASE_RP, bytes(4))


def encode_abort(reason: AbortReason, *, by_provider: bool = True) -> bytes:
    """An A-ABORT (PS3.8 section 9.3.8) of the service provider, or of the service user, which has no reasons."""
    return _pdu(PduType.ABORT, bytes((0, 0, 2, reason) if by_provider else (0, 0, 0, 0)))


def encode_command(context_id: int, command: bytes, maximum_pdu_bytes: int) -> bytes:
    """P-DATA-TF PDUs that carry a whole command set, each within the peer's maximum (0: no limit)."""
    room = len(command) if maximum_pdu_bytes == 0 else maximum_pdu_bytes - HEADER_BYTES
    pdus = []
    for start in range(0, len(command), room):
        part = command[start : start + room]
        control = 0b11 if start + room >= len(command) else 0b01
        value = struct.pack(">IBB", len(part) + 2, context_id, control) + part
        pdus.append(_pdu(PduType.P_DATA_TF, value))
    return b"".join(pdus)
