"""Faulty and hostile peers on real sockets: others are served meanwhile, nothing acknowledged is lost."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.dicom_peers import (
    CT,
    EXPLICIT_LE,
    MR,
    UID,
    VERIFICATION,
    RawPeer,
    Serving,
    associate_request,
    command_set,
    data_set,
    fragment,
    normal_peer_is_served,
    p_data,
    pdu,
    serving,
    until,
)

from edge_runtime.config import Caller

QUICK = {"read_deadline_seconds": 1.0, "idle_seconds": 2.0, "minimum_bytes_per_second": 1000}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, **QUICK) as running:
        yield running


def still_serves(served: Serving, meanwhile: bool = False) -> None:
    """A polite peer gets its Success; what was acknowledged is on disk and whole, and in the end nothing else is."""
    before = len(served.receipts)
    assert normal_peer_is_served(served.port)
    assert until(lambda: len(served.receipts) == before + 1)
    assert all(served.store.verify(receipt) for receipt in served.receipts)
    assert {receipt.id for receipt in served.store.scan()} == {receipt.id for receipt in served.receipts}
    assert meanwhile or len(served.files()) == len(served.receipts)


def half_pdu(peer: RawPeer) -> None:
    peer.send(associate_request([(1, CT, [EXPLICIT_LE])])[:40])


def half_data_pdu(peer: RawPeer) -> None:
    peer.associate().send_store()
    peer.send(p_data(1, 2, data_set())[:500])


def half_message(peer: RawPeer) -> None:
    peer.associate().send_store()
    peer.send_data(data_set(), last=False)


@pytest.mark.parametrize(
    ("misbehave", "reason"),
    [
        (lambda peer: None, "read_deadline"),
        (half_pdu, "read_deadline"),
        (half_data_pdu, "read_deadline"),
        (half_message, "read_deadline"),
        (lambda peer: peer.associate(), "idle"),
    ],
    ids=["silent", "half an associate", "half a P-DATA", "half a message", "silent association"],
)
def test_a_peer_that_stops_is_let_go_within_its_deadline(
    served: Serving, misbehave: Callable[[RawPeer], object], reason: str
) -> None:
    with RawPeer(served.port) as peer:
        misbehave(peer)
        still_serves(served, meanwhile=True)
        assert peer.closed_within(8)
    assert until(lambda: served.metrics.ended(reason) == 1)
    still_serves(served)


@pytest.mark.parametrize("associated", [False, True])
def test_a_peer_that_trickles_is_let_go_though_each_byte_is_in_time(served: Serving, associated: bool) -> None:
    with RawPeer(served.port) as peer:
        if associated:
            peer.associate().send_store()
            stream = p_data(1, 2, data_set())
        else:
            stream = associate_request([(1, CT, [EXPLICIT_LE])])
        started = time.monotonic()
        with pytest.raises((ConnectionError, EOFError)):
            for byte in stream:
                peer.send(bytes((byte,)))
                time.sleep(0.1)
                if time.monotonic() - started > 10:
                    break
                peer.socket.setblocking(False)
                try:
                    if not peer.socket.recv(1 << 16):
                        raise EOFError
                except BlockingIOError:
                    pass
                peer.socket.setblocking(True)
    assert until(lambda: served.metrics.ended("too_slow") == 1)
    still_serves(served)


@pytest.mark.parametrize(
    ("first_bytes", "reason"),
    [
        (struct.pack(">BxI", 1, 0xFFFFFFFF), "pdu_length"),
        (struct.pack(">BxI", 4, 0xFFFFFFFF), "not_dicom"),
        (b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n", "not_dicom"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "not_dicom"),
        (pdu(1, bytes(68)), "rejected"),
        (pdu(1, b"\xff" * 500), "malformed_associate"),
        (pdu(5, bytes(4)), "not_dicom"),
    ],
    ids=["associate of 4 GiB", "data of 4 GiB", "HTTP", "TLS", "empty associate", "garbage associate", "release first"],
)
def test_what_does_not_open_an_association_is_refused_at_once(served: Serving, first_bytes: bytes, reason: str) -> None:
    with RawPeer(served.port) as peer:
        peer.send(first_bytes)
        assert peer.closed_within(0.9), "long before the read deadline"
    assert until(lambda: served.metrics.ended(reason) == 1)
    still_serves(served)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (struct.pack(">BxI", 4, 0xFFFFFFFF), "pdu_length"),
        (struct.pack(">BxI", 4, 262_145), "pdu_length"),
        (p_data(1, 2, data_set()), "data_before_command"),
        (p_data(1, 3, b"\xde\xad\xbe\xef" * 30), "malformed_command"),
        (p_data(1, 1, bytes(20_000)), "malformed_command"),
        (p_data(9, 3, command_set(1)), "context_not_accepted"),
        (p_data(1, 1, command_set(1)[:20]) + p_data(3, 3, command_set(1)[20:]), "mixed_contexts"),
        (p_data(1, 3, command_set(1)) + p_data(3, 2, data_set()), "mixed_contexts"),
        (p_data(1, 3, command_set(1)) + p_data(1, 3, command_set(1)), "command_in_data_set"),
        (pdu(4, struct.pack(">IBB", 0xFFFFFFFF, 1, 3)), "malformed_data"),
        (pdu(4, struct.pack(">IBB", 1, 1, 3)), "malformed_data"),
        (pdu(4, b"\0\0\0"), "malformed_data"),
        (pdu(4, b"") * 3, "malformed_data"),
        (pdu(9, b"what"), "unknown_pdu"),
        (associate_request([(1, CT, [EXPLICIT_LE])]), "unexpected_pdu"),
        (p_data(1, 3, command_set(1)) + pdu(5, bytes(4)), "unexpected_pdu"),
        (p_data(1, 3, command_set(0x8001)), "malformed_command"),
    ],
    ids=[
        "4 GiB",
        "one byte more than negotiated",
        "data set before command",
        "garbage command",
        "endless command",
        "context not accepted",
        "command in two contexts",
        "data set in another context",
        "command in data set",
        "fragment of 4 GiB",
        "fragment of one byte",
        "cut fragment header",
        "empty P-DATA",
        "unknown PDU",
        "associate again",
        "release in a message",
        "a response",
    ],
)
def test_a_breach_of_the_protocol_is_answered_by_an_abort(served: Serving, stream: bytes, reason: str) -> None:
    with RawPeer(served.port).associate() as peer:
        assert peer.store(data_set()) == 0
        peer.send(stream)
        kind, body = peer.read_pdu()
        assert (kind, body[2]) == (7, 2)
        assert peer.closed_within(2)
    assert until(lambda: served.metrics.ended(reason) == 1)
    still_serves(served)


def test_endless_empty_fragments_end_at_the_largest_object(tmp_path: Path) -> None:
    with serving(tmp_path, maximum_object_bytes=1_000_000) as served:
        with RawPeer(served.port).associate() as peer:
            peer.send_store()
            empty = pdu(4, fragment(1, 0, b"") * 1000)
            with pytest.raises((ConnectionError, EOFError, AssertionError)):
                for _ in range(1000):
                    peer.send(empty)
                raise AssertionError("never let go")
        assert until(lambda: served.metrics.ended("object_too_large") == 1)
        still_serves(served)


def test_an_object_over_the_limit_is_aborted_and_not_kept(tmp_path: Path) -> None:
    with serving(tmp_path, maximum_object_bytes=1_000_000) as served:
        with RawPeer(served.port).associate() as peer:
            peer.send_store()
            with pytest.raises((ConnectionError, EOFError, AssertionError)):
                for _ in range(1000):
                    peer.send_data(data_set(pixel_bytes=100_000), last=False)
                raise AssertionError("never let go")
        assert until(lambda: served.metrics.results("interrupted") == 1)
        still_serves(served)


@pytest.mark.parametrize(
    ("changes", "numbers", "reason"),
    [
        ({"calling": "EVIL"}, (1, 1, 3), "calling_ae_title"),
        ({"called": "OTHER"}, (1, 1, 7), "called_ae_title"),
        ({"application": "1.2.3"}, (1, 1, 2), "application_context"),
        ({"version": 2}, (1, 2, 2), "protocol_version"),
    ],
)
def test_unknown_titles_are_rejected_for_good(
    tmp_path: Path, changes: dict[str, str], numbers: tuple[int, int, int], reason: str
) -> None:
    callers = (Caller("CT01", ("127.0.0.0/8",)), Caller("POLITE", ("127.0.0.1",)))
    with serving(tmp_path, callers=callers) as served:
        with RawPeer(served.port) as peer:
            peer.send(associate_request([(1, CT, [EXPLICIT_LE])], **changes))
            kind, body = peer.read_pdu()
            assert (kind, tuple(body[1:])) == (3, numbers)
        assert until(lambda: served.metrics.rejected(reason) == 1)
        still_serves(served)


def test_a_known_title_from_another_address_is_rejected(tmp_path: Path) -> None:
    callers = (Caller("CT01", ("127.0.0.2/32",)), Caller("POLITE", ("127.0.0.1",)))
    with serving(tmp_path, callers=callers) as served:
        with RawPeer(served.port) as peer, pytest.raises(AssertionError, match="type 3"):
            peer.associate()
        with RawPeer(served.port, source="127.0.0.2") as peer:
            peer.associate()
        still_serves(served)


def test_one_caller_cannot_take_all_places_and_gets_a_transient_rejection(tmp_path: Path) -> None:
    with serving(tmp_path, maximum_associations=4, maximum_associations_per_caller=2) as served:
        greedy = [RawPeer(served.port, source="127.0.0.2").associate() for _ in range(2)]
        with RawPeer(served.port, source="127.0.0.2") as third:
            third.send(associate_request([(1, CT, [EXPLICIT_LE])]))
            assert third.read_pdu() == (3, bytes((0, 2, 3, 2)))
        assert until(lambda: served.metrics.rejected("caller_limit") == 1)
        still_serves(served)
        greedy[0].release()
        assert until(lambda: served.metrics.ended("released") == 2)
        with RawPeer(served.port, source="127.0.0.2") as again:
            assert again.associate().echo() == 0
        for peer in greedy:
            peer.socket.close()


def test_too_many_associations_in_all_are_a_transient_rejection(tmp_path: Path) -> None:
    with serving(tmp_path, maximum_associations=3, maximum_associations_per_caller=3) as served:
        peers = [RawPeer(served.port, source=f"127.0.0.{n}").associate() for n in (2, 3, 4)]
        assert served.metrics.values[("edge_receive_associations_open",)] == 3
        with RawPeer(served.port) as fourth:
            fourth.send(associate_request([(1, CT, [EXPLICIT_LE])]))
            assert fourth.read_pdu() == (3, bytes((0, 2, 3, 2)))
        for peer in peers:
            peer.release()
            peer.socket.close()
        assert until(lambda: served.metrics.values[("edge_receive_associations_open",)] == 0)
        still_serves(served)


def test_a_flood_of_silent_connections_pushes_out_itself_only(tmp_path: Path) -> None:
    with serving(tmp_path) as served, RawPeer(served.port).associate() as working:
        flood = [socket.create_connection(("127.0.0.1", served.port), 5) for _ in range(300)]
        still_serves(served)
        assert working.store(data_set()) == 0
        for connection in flood:
            connection.close()
        working.release()
        assert served.metrics.counts[("edge_receive_connections_shed_total",)] >= 200
        still_serves(served)


@pytest.mark.parametrize("how", ["abort", "close", "reset"])
def test_an_instance_that_its_peer_gives_up_is_removed(served: Serving, how: str) -> None:
    with RawPeer(served.port).associate() as peer:
        peer.send_store()
        peer.send_data(data_set(pixel_bytes=300_000), last=False)
        assert until(lambda: len(served.files()) == 1), "it was under way"
        if how == "abort":
            peer.send(pdu(7, bytes(4)))
        elif how == "reset":
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert until(lambda: served.metrics.ended("peer_aborted" if how == "abort" else "peer_closed") == 1)
    assert served.metrics.results("interrupted") == 1
    assert served.files() == []
    still_serves(served)


@pytest.mark.parametrize(
    ("command", "data", "status", "result"),
    [
        ({}, data_set(sop_instance=UID + ".2"), 0xA900, "identity_differs"),
        ({}, data_set(sop_class=MR), 0xA900, "identity_differs"),
        ({"sop_class": MR}, data_set(sop_class=MR), 0x0122, "class_not_of_context"),
        ({"sop_instance": "../../etc/passwd"}, data_set(), 0xC001, "invalid_uid"),
        ({"sop_instance": ""}, data_set(sop_instance=""), 0xC001, "invalid_uid"),
        ({"sop_instance": "1." + "2" * 63}, data_set(sop_instance="1." + "2" * 63), 0xC001, "invalid_uid"),
        ({}, bytes(100_000), 0xC002, "identity_unreadable"),
    ],
    ids=["instance differs", "class differs", "class of another context", "path", "empty", "65 characters", "zeros"],
)
def test_a_refused_instance_leaves_the_association_usable_and_nothing_on_disk(
    served: Serving, command: dict[str, str], data: bytes, status: int, result: str
) -> None:
    with RawPeer(served.port).associate() as peer:
        assert peer.store(data, **command) == status
        assert served.files() == []
        assert until(lambda: served.metrics.results(result) == 1)
        assert peer.store(data_set()) == 0
        peer.release()
    assert until(lambda: len(served.receipts) == 1)
    still_serves(served)


def test_a_store_without_a_data_set_is_refused_and_the_association_goes_on(served: Serving) -> None:
    with RawPeer(served.port).associate() as peer:
        peer.send(p_data(1, 3, command_set(1, data=False)))
        assert peer.status() == 0xC003
        assert peer.echo() == 0


def test_an_unknown_operation_is_refused_and_a_cancel_is_ignored(served: Serving) -> None:
    with RawPeer(served.port).associate() as peer:
        peer.send(p_data(1, 3, command_set(0x20)))
        peer.send_data(data_set())
        kind, body = peer.read_pdu()
        elements = peer.elements(body[6:])
        assert (kind, elements[0x0900], elements[0x0100]) == (4, 0x0211, 0x8020)
        cancel = struct.pack("<HHIH", 0, 0x0100, 2, 0x0FFF) + struct.pack("<HHIH", 0, 0x0120, 2, 1)
        peer.send(p_data(1, 3, cancel + struct.pack("<HHIH", 0, 0x0800, 2, 0x0101)))
        assert peer.echo() == 0


def test_a_truncated_data_set_with_a_known_identity_is_kept_for_downstream_to_judge(served: Serving) -> None:
    with RawPeer(served.port).associate() as peer:
        assert peer.store(data_set()[:-700]) == 0
    assert until(lambda: len(served.receipts) == 1)
    still_serves(served)


def test_the_same_instance_twice_is_stored_twice(served: Serving) -> None:
    with RawPeer(served.port).associate() as peer:
        assert [peer.store(data_set()), peer.store(data_set()), peer.store(data_set(pixel_bytes=99))] == [0, 0, 0]
    assert until(lambda: len({receipt.id for receipt in served.receipts}) == 3)
    assert len({receipt.sha256 for receipt in served.receipts}) == 2


def test_a_data_set_in_tiny_fragments_arrives_whole(served: Serving) -> None:
    data = data_set(pixel_bytes=700)
    with RawPeer(served.port).associate(maximum=64) as peer:
        for byte_at, byte in enumerate(command_set(1)):
            last = byte_at == len(command_set(1)) - 1
            peer.send(p_data(1, 3 if last else 1, bytes((byte,))))
        peer.send_data(data, size=1)
        parts = []
        while not parts or not parts[-1][5] & 2:
            parts.append(peer.read_pdu()[1])
        response = peer.elements(b"".join(part[6:] for part in parts))
        assert len(parts) > 1, "the response keeps to the peer's maximum"
        assert response[0x0900] == 0
    assert until(lambda: len(served.receipts) == 1)
    assert served.files()[0].read_bytes()[4096:] == data


def test_many_fragments_of_command_and_data_share_one_pdu(served: Serving) -> None:
    command, data = command_set(1), data_set()
    with RawPeer(served.port).associate() as peer:
        one = fragment(1, 1, command[:9]) + fragment(1, 3, command[9:]) + fragment(1, 0, data[:5])
        peer.send(pdu(4, one + fragment(1, 0, b"") + fragment(1, 2, data[5:])))
        assert peer.status() == 0
    assert served.files()[0].read_bytes()[4096:] == data


def test_below_the_reserve_the_answer_is_out_of_resources_and_comes_before_writing(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    with (
        serving(tmp_path, reserve_bytes=disk.f_blocks * disk.f_frsize) as served,
        RawPeer(served.port).associate() as peer,
    ):
        assert peer.store(data_set()) == 0xA700
        assert served.files() == []
        assert served.metrics.results("out_of_resources") == 1
        assert peer.echo() == 0


def test_a_consumer_that_fails_costs_neither_the_success_nor_the_association(tmp_path: Path) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("journal is away")

    with serving(tmp_path, on_stored=broken) as served, RawPeer(served.port).associate() as peer:
        assert [peer.store(data_set()) for _ in range(2)] == [0, 0]
        peer.release()
        assert served.metrics.counts[("edge_receive_hand_over_failures_total",)] == 2
        assert len(list(served.store.scan())) == 2


def test_classes_and_syntaxes_are_answered_per_context(served: Serving) -> None:
    offers = [
        (1, CT, ["1.2.840.10008.1.2.4.70", EXPLICIT_LE]),
        (3, "1.2.840.10008.5.1.4.1.1.481.2", [EXPLICIT_LE]),
        (5, VERIFICATION, ["1.2.840.10008.1.2.4.107"]),
    ]
    with RawPeer(served.port) as peer:
        peer.send(associate_request(offers))
        kind, body = peer.read_pdu()
    assert kind == 2
    results = []
    position = 68
    while position < len(body):
        item, length = struct.unpack_from(">BxH", body, position)
        if item == 0x21:
            results.append((body[position + 4], body[position + 6]))
        position += 4 + length
    assert results == [(1, 0), (3, 3), (5, 4)]
