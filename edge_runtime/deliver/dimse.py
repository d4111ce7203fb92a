"""The command sets that we send, implicit VR little endian (PS3.7 6.3.1), pure."""

from __future__ import annotations

import struct

C_STORE_RSP, C_ECHO_RSP = 0x8001, 0x8030
VERIFICATION_CLASS = "1.2.840.10008.1.1"

_C_STORE_RQ, _C_ECHO_RQ = 0x0001, 0x0030
_MEDIUM, _A_DATA_SET, _NO_DATA_SET = 0x0000, 0x0001, 0x0101


def c_store_request(message_id: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """The command set of a C-STORE-RQ (PS3.7 9.3.1.1)."""
    head = _uid(0x0002, sop_class_uid) + _short(0x0100, _C_STORE_RQ) + _short(0x0110, message_id)
    tail = _short(0x0700, _MEDIUM) + _short(0x0800, _A_DATA_SET) + _uid(0x1000, sop_instance_uid)
    return _with_length(head + tail)


def c_echo_request(message_id: int) -> bytes:
    """The command set of a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    head = _uid(0x0002, VERIFICATION_CLASS) + _short(0x0100, _C_ECHO_RQ) + _short(0x0110, message_id)
    return _with_length(head + _short(0x0800, _NO_DATA_SET))


def _with_length(command: bytes) -> bytes:
    return _element(0x0000, struct.pack("<L", len(command))) + command


def _uid(number: int, uid: str) -> bytes:
    value = uid.encode("ascii")
    return _element(number, value + b"\0" * (len(value) % 2))


def _short(number: int, value: int) -> bytes:
    return _element(number, struct.pack("<H", value))


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value
