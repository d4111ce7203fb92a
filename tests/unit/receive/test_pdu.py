"""The PDU codec: strict, bounded, and understood by an independent one."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RP, P_DATA_TF
from support.dicom_peers import CT, EXPLICIT_LE, IMPLICIT_LE, associate_request, item, pdu

from edge_runtime.receive.pdu import (
    AbortReason,
    AnsweredContext,
    AssociateRequest,
    ProposedContext,
    ProtocolError,
    decode_associate_request,
    decode_header,
    encode_abort,
    encode_associate_accept,
    encode_associate_reject,
    encode_command,
    encode_release_response,
)

uids = st.lists(st.integers(0, 10**9).map(str), min_size=2, max_size=6).map(".".join)
titles = st.from_regex(r"[A-Z0-9_]{1,16}", fullmatch=True)
contexts = st.lists(
    st.tuples(st.integers(0, 127).map(lambda n: 2 * n + 1), uids, st.lists(uids, min_size=1, max_size=4)),
    max_size=8,
    unique_by=lambda context: context[0],
)


def body_of(request: bytes) -> bytes:
    assert decode_header(request[:6]) == (1, len(request) - 6)
    return request[6:]


@given(contexts, titles, titles, st.integers(0, 2**32 - 1), st.booleans())
def test_a_request_is_decoded_to_what_was_encoded(
    offers: list[tuple[int, str, list[str]]], calling: str, called: str, maximum: int, asynchronous: bool
) -> None:
    extra = item(0x53, struct.pack(">HH", 8, 8)) if asynchronous else b""
    body = body_of(associate_request(offers, calling, called, maximum, extra_user_items=extra))
    assert decode_associate_request(body) == AssociateRequest(
        protocol_version=1,
        called_ae_title=called,
        calling_ae_title=calling,
        application_context="1.2.840.10008.3.1.1.1",
        contexts=tuple(ProposedContext(n, abstract, tuple(syntaxes)) for n, abstract, syntaxes in offers),
        maximum_pdu_bytes=maximum,
        asynchronous=asynchronous,
    )


def test_the_requests_of_the_tests_are_understood_by_pynetdicom() -> None:
    independent = A_ASSOCIATE_RQ()
    independent.decode(associate_request([(1, CT, [EXPLICIT_LE, IMPLICIT_LE])]))
    assert independent.calling_ae_title == "CT01"
    assert independent.presentation_context[0].abstract_syntax == CT


@given(st.binary(max_size=400))
def test_arbitrary_bytes_give_a_request_or_a_protocol_error(data: bytes) -> None:
    for body in (data, bytes((0, 1)) + bytes(66) + data):
        try:
            assert isinstance(decode_associate_request(body), AssociateRequest)
        except ProtocolError as error:
            assert error.reason == "malformed_associate"


@given(st.data())
def test_a_damaged_request_gives_a_request_or_a_protocol_error(data: st.DataObject) -> None:
    body = bytearray(body_of(associate_request([(1, CT, [EXPLICIT_LE]), (3, CT, [IMPLICIT_LE])])))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    try:
        assert isinstance(decode_associate_request(bytes(body[:cut])), AssociateRequest)
    except ProtocolError as error:
        assert error.reason == "malformed_associate"


def test_no_length_inside_a_request_makes_it_allocate() -> None:
    body = bytes((0, 1)) + bytes(66) + struct.pack(">BxH", 0x50, 0xFFFF) + bytes(10)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode_associate_request(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "offers",
    [
        [(2, CT, [EXPLICIT_LE])],
        [(1, CT, [EXPLICIT_LE]), (1, CT, [EXPLICIT_LE])],
        [(1, CT, [])],
        [(1, "1.2\n3", [EXPLICIT_LE])],
    ],
    ids=["even id", "id twice", "no transfer syntax", "control character"],
)
def test_a_request_against_the_standard_is_refused(offers: list[tuple[int, str, list[str]]]) -> None:
    with pytest.raises(ProtocolError):
        decode_associate_request(body_of(associate_request(offers)))


@pytest.mark.parametrize("title", ["EV\nIL", "\x1b[2J", "ÄÖÜ"])
def test_a_title_that_would_spoil_a_log_is_refused(title: str) -> None:
    body = bytearray(body_of(associate_request([(1, CT, [EXPLICIT_LE])])))
    body[20:36] = title.encode("latin-1").ljust(16)
    with pytest.raises(ProtocolError):
        decode_associate_request(bytes(body))


def test_an_accept_is_understood_by_pynetdicom() -> None:
    extra = item(0x53, struct.pack(">HH", 8, 8))
    offers = [(1, CT, [EXPLICIT_LE]), (3, CT, [IMPLICIT_LE])]
    request = decode_associate_request(body_of(associate_request(offers, extra_user_items=extra)))
    answers = (AnsweredContext(1, 0, EXPLICIT_LE), AnsweredContext(3, 4, IMPLICIT_LE))
    accept = A_ASSOCIATE_AC()
    accept.decode(encode_associate_accept(request, answers, 262_144, ("1.2.3.4", "EDGE_1")))
    assert [(c.context_id, c.result, c.transfer_syntax) for c in accept.presentation_context] == [
        (1, 0, EXPLICIT_LE),
        (3, 4, IMPLICIT_LE),
    ]
    assert accept.user_information.maximum_length == 262_144
    assert accept.user_information.implementation_class_uid == "1.2.3.4"
    window = accept.user_information.async_ops_window
    assert (window.maximum_number_operations_invoked, window.maximum_number_operations_performed) == (1, 1)
    assert accept.called_ae_title == "EDGE"


def test_the_short_pdus_are_understood_by_pynetdicom() -> None:
    reject, abort, release = A_ASSOCIATE_RJ(), A_ABORT_RQ(), A_RELEASE_RP()
    reject.decode(encode_associate_reject(2, 3, 2))
    assert (reject.result, reject.source, reject.reason_diagnostic) == (2, 3, 2)
    abort.decode(encode_abort(AbortReason.INVALID_PARAMETER))
    assert (abort.source, abort.reason_diagnostic) == (2, 6)
    abort.decode(encode_abort(AbortReason.INVALID_PARAMETER, by_provider=False))
    assert (abort.source, abort.reason_diagnostic) == (0, 0)
    release.decode(encode_release_response())
    assert release.encode() == encode_release_response()


@example(bytes(500), 64)
@given(st.binary(min_size=1, max_size=500), st.sampled_from([0, 64, 100, 16_384]))
def test_a_command_is_cut_to_the_peers_maximum_and_whole_again(command: bytes, maximum: int) -> None:
    stream = encode_command(5, command, maximum)
    parts, last = [], False
    while stream:
        kind, length = decode_header(stream[:6])
        assert kind == 4
        assert not last
        assert maximum == 0 or length <= maximum
        one = P_DATA_TF()
        one.decode(stream[: 6 + length])
        (value,) = one.presentation_data_value_items
        assert value.presentation_context_id == 5
        control = value.presentation_data_value[0]
        assert control & 1
        last = bool(control & 2)
        parts.append(value.presentation_data_value[1:])
        stream = stream[6 + length :]
    assert last
    assert b"".join(parts) == command


def test_a_header_carries_any_length() -> None:
    assert decode_header(pdu(4, b"")[:2] + b"\xff\xff\xff\xff") == (4, 0xFFFFFFFF)
