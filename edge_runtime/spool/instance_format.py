"""The bytes before a received data set: a Part 10 header of fixed size with our receipt inside (PS3.10 section 7.1).

One page of 4,096 bytes: preamble, `DICM`, File Meta Information. Its last element is Private Information
(0002,0102), whose second half is the receipt as JSON. The data set starts at byte 4,096, as it came.
So one fsync makes the bytes and the receipt durable together.
"""

from __future__ import annotations

import json
import struct

from edge_runtime.spool.receipt import Arrival, Receipt

DATA_SET_OFFSET = 4096
RECEIPT_OFFSET = 2048
RECEIPT_BYTES = DATA_SET_OFFSET - RECEIPT_OFFSET
SCHEMA = 1

IMPLEMENTATION_CLASS_UID = "2.25.207094418366279474366931838150432196309"
IMPLEMENTATION_VERSION_NAME = "EDGE_RUNTIME_0"
RECEIPT_CREATOR_UID = "2.25.116306353829340532927446091217430587482"

_GROUP_LENGTH_BYTES = 12
_META_OFFSET = 128 + 4


class BrokenHeader(ValueError):
    """A header that is neither empty nor one of ours."""


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if vr == b"OB":
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    pad = b"\0" if vr == b"UI" else b" "
    value += pad * (len(value) % 2)
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def encode_header(arrival: Arrival) -> bytes:
    """4,096 bytes: the header of an instance that is under way, with zeros where its receipt will stand."""
    meta = b"".join(
        (
            _element(0x0001, b"OB", b"\x00\x01"),
            _element(0x0002, b"UI", arrival.sop_class_uid.encode("ascii")),
            _element(0x0003, b"UI", arrival.sop_instance_uid.encode("ascii")),
            _element(0x0010, b"UI", arrival.transfer_syntax_uid.encode("ascii")),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
            _element(0x0016, b"AE", arrival.caller_ae_title.encode("ascii")),
            _element(0x0100, b"UI", RECEIPT_CREATOR_UID.encode("ascii")),
        )
    )
    room = DATA_SET_OFFSET - _META_OFFSET - _GROUP_LENGTH_BYTES - len(meta) - _GROUP_LENGTH_BYTES
    meta += _element(0x0102, b"OB", bytes(room))
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta


def encode_receipt(receipt: Receipt) -> bytes:
    """2,048 bytes for `RECEIPT_OFFSET`: the receipt as JSON, padded with spaces."""
    content = {"schema": SCHEMA, **vars(receipt), "arrival": vars(receipt.arrival)}
    return json.dumps(content, separators=(",", ":")).encode("ascii").ljust(RECEIPT_BYTES)


def decode_receipt(header: bytes) -> Receipt | None:
    """The receipt of a file whose first 4,096 bytes are `header`; None where it was never completed.

    Raises:
        BrokenHeader: something stands there that we never write in one piece.
    """
    place = header[RECEIPT_OFFSET:DATA_SET_OFFSET]
    if not any(place):
        return None
    try:
        if header[128:132] != b"DICM" or len(place) != RECEIPT_BYTES:
            raise ValueError("no Part 10 header")
        content = json.loads(place.decode("ascii"))
        if content.pop("schema") != SCHEMA:
            raise ValueError("unknown schema of the receipt")
        return Receipt(arrival=Arrival(**content.pop("arrival")), **content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BrokenHeader("the header of an instance file is damaged") from error
