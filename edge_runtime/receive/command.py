"""Command sets (PS3.7 section 6.3 and annex E): implicit little endian, group 0000. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from edge_runtime.receive.pdu import ProtocolError

COMMAND_LIMIT_BYTES = 16_384
NO_DATA_SET = 0x0101
RESPONSE = 0x8000

_SOP_CLASS = 0x0002
_FIELD = 0x0100
_MESSAGE_ID = 0x0110
_RESPONDING_TO = 0x0120
_DATA_SET_TYPE = 0x0800
_STATUS = 0x0900
_COMMENT = 0x0902
_SOP_INSTANCE = 0x1000


class CommandField(IntEnum):
    """The operations that are answered (PS3.7 table E.1-1)."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    C_CANCEL_RQ = 0x0FFF


@dataclass(frozen=True)
class Command:
    """A request. UIDs are as sent, less padding, and not checked; empty where absent or not ASCII."""

    field: int
    message_id: int
    has_data_set: bool
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


def trimmed_uid(value: bytes) -> str:
    """A UID without its padding; empty for bytes that are not ASCII."""
    try:
        return value.decode("ascii").rstrip("\0 ")
    except UnicodeDecodeError:
        return ""


def _malformed(detail: str) -> ProtocolError:
    return ProtocolError("malformed_command", detail)


def _elements(data: bytes) -> dict[int, bytes]:
    elements: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if position + 8 > len(data):
            raise _malformed("an element's header is cut")
        group, number, length = struct.unpack_from("<HHI", data, position)
        position += 8
        if group != 0 or position + length > len(data):
            raise _malformed("an element is of another group, or longer than the command set")
        elements[number] = data[position : position + length]
        position += length
    return elements


def _number(elements: dict[int, bytes], number: int) -> int:
    value = elements.get(number, b"")
    if len(value) != 2:
        raise _malformed(f"(0000,{number:04x}) is missing or not two bytes")
    return int.from_bytes(value, "little")


def decode_command(data: bytes) -> Command:
    """Decode a command set that a service user sends to a provider.

    Raises:
        ProtocolError: malformed, or a response to something that was never asked.
    """
    elements = _elements(data)
    field = _number(elements, _FIELD)
    if field & RESPONSE:
        raise _malformed("a response where only requests are expected")
    cancels = field == CommandField.C_CANCEL_RQ
    return Command(
        field=field,
        message_id=_number(elements, _RESPONDING_TO if cancels else _MESSAGE_ID),
        has_data_set=_number(elements, _DATA_SET_TYPE) != NO_DATA_SET,
        sop_class_uid=trimmed_uid(elements.get(_SOP_CLASS, b"")),
        sop_instance_uid=trimmed_uid(elements.get(_SOP_INSTANCE, b"")),
    )


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def _padded(text: str, pad: bytes) -> bytes:
    value = text.encode("ascii")
    return value + pad * (len(value) % 2)


def encode_response(request: Command, status: int, comment: str = "") -> bytes:
    """The response to a request (PS3.7 section 9.3.1.2): echoes its UIDs, which must be valid or empty."""
    parts = []
    if request.sop_class_uid:
        parts.append(_element(_SOP_CLASS, _padded(request.sop_class_uid, b"\0")))
    parts.append(_element(_FIELD, struct.pack("<H", request.field | RESPONSE)))
    parts.append(_element(_RESPONDING_TO, struct.pack("<H", request.message_id)))
    parts.append(_element(_DATA_SET_TYPE, struct.pack("<H", NO_DATA_SET)))
    parts.append(_element(_STATUS, struct.pack("<H", status)))
    if comment:
        parts.append(_element(_COMMENT, _padded(comment[:64], b" ")))
    if request.sop_instance_uid:
        parts.append(_element(_SOP_INSTANCE, _padded(request.sop_instance_uid, b"\0")))
    body = b"".join(parts)
    return _element(0x0000, struct.pack("<I", len(body))) + body
