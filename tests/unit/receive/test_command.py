"""Command sets: what is read is what was sent, and nothing else is ever raised than a protocol error."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import read_dataset
from support.dicom_peers import CT, UID, command_set, element

from edge_runtime.receive.command import Command, decode_command, encode_response
from edge_runtime.receive.pdu import ProtocolError

uids = st.lists(st.integers(0, 10**9).map(str), min_size=2, max_size=6).map(".".join)


@given(st.sampled_from([1, 0x30, 0x20]), st.integers(0, 65535), uids, uids, st.booleans())
def test_a_request_is_decoded_to_what_was_encoded(
    field: int, message_id: int, sop_class: str, sop_instance: str, data: bool
) -> None:
    decoded = decode_command(command_set(field, message_id, sop_class, sop_instance, data))
    assert decoded == Command(field, message_id, data, sop_class, sop_instance)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_command_or_a_protocol_error(data: bytes) -> None:
    try:
        assert isinstance(decode_command(data), Command)
    except ProtocolError as error:
        assert error.reason == "malformed_command"


@given(st.data())
def test_a_damaged_command_gives_a_command_or_a_protocol_error(data: st.DataObject) -> None:
    body = bytearray(command_set(1))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(decode_command(bytes(body[: data.draw(st.integers(0, len(body)))])), Command)
    except ProtocolError as error:
        assert error.reason == "malformed_command"


@given(uids, uids, st.integers(0, 65535), st.integers(0, 65535), st.text("abc ", max_size=100))
def test_a_response_is_read_by_pydicom(
    sop_class: str, sop_instance: str, message_id: int, status: int, comment: str
) -> None:
    encoded = encode_response(Command(1, message_id, True, sop_class, sop_instance), status, comment)
    read = read_dataset(BytesIO(encoded), is_implicit_VR=True, is_little_endian=True)
    assert read.CommandGroupLength == len(encoded) - 12
    assert (read.CommandField, read.MessageIDBeingRespondedTo, read.Status) == (0x8001, message_id, status)
    assert (read.AffectedSOPClassUID, read.AffectedSOPInstanceUID) == (sop_class, sop_instance)
    assert read.CommandDataSetType == 0x0101
    assert [e.tag for e in read] == sorted(e.tag for e in read)


def test_a_response_without_valid_uids_leaves_them_out() -> None:
    read = read_dataset(
        BytesIO(encode_response(Command(1, 1, True), 0xC001)), is_implicit_VR=True, is_little_endian=True
    )
    assert "AffectedSOPInstanceUID" not in read


@pytest.mark.parametrize(
    "data",
    [
        b"",
        command_set(0x8001),
        command_set(1)[:-1],
        element(0x0100, struct.pack("<H", 1)) + element(0x0800, struct.pack("<H", 1)),
        element(0x0018, b"1.2.3.", group=8),
        struct.pack("<HHI", 0, 0x0100, 0xFFFFFFFF),
    ],
    ids=["empty", "a response", "cut", "no message id", "another group", "a length of 4 GiB"],
)
def test_what_is_no_request_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_command(data)


def test_padding_of_uids_is_removed_and_non_ascii_is_no_uid() -> None:
    padded = command_set(1, sop_instance=UID + "\0 ")
    assert decode_command(padded).sop_instance_uid == UID
    assert decode_command(command_set(1, sop_instance="1.2.ä")).sop_instance_uid == ""
    assert decode_command(command_set(1)).sop_class_uid == CT
