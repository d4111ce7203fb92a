"""Delivery to a PACS that behaves: warns, fails, aborts, hangs, refuses, keeps a bound in every case."""

from __future__ import annotations

import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from support.pacs import (
    StubPacs,
    abort_pdu,
    accept_association,
    c_store_response,
    full_backlog,
    orthanc,
    p_data,
    raw_server,
    read_c_store,
    read_pdu,
    reject_pdu,
    storescp,
    wait_until,
)
from support.parcels import SOP_CLASSES, data_set_bytes, make_parcel

from edge_runtime.deliver.base import Outcome, Reason
from edge_runtime.deliver.dicom import DicomDestination, Peer
from edge_runtime.result_objects import ResultKind

KINDS = (ResultKind.SEG, ResultKind.SR, ResultKind.OVERLAY)


def destination(port: int, timeout_seconds: float = 3.0, called: str = "PACS") -> DicomDestination:
    return DicomDestination("pacs", Peer("127.0.0.1", port, called, "EDGE"), timeout_seconds)


def sent(port: int, parcels, timeout_seconds: float = 3.0, called: str = "PACS"):
    return [(d.outcome, d.reason) for d in destination(port, timeout_seconds, called).send_many(parcels)]


@pytest.fixture
def parcels(tmp_path):
    return [make_parcel(tmp_path / "spool", kind) for kind in KINDS]


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [
        (0xA700, Outcome.DEFERRED, Reason.OUT_OF_RESOURCES),
        (0xA900, Outcome.PARKED, Reason.DATA_SET_MISMATCH),
        (0xC000, Outcome.PARKED, Reason.CANNOT_UNDERSTAND),
        (0xB000, Outcome.DONE, Reason.WARNING),
        (0x0111, Outcome.DONE, Reason.DUPLICATE),
        (0x0110, Outcome.DEFERRED, Reason.PROCESSING_FAILURE),
    ],
)
def test_the_status_of_one_object_decides_for_it_alone(parcels, status, outcome, reason):
    with StubPacs(statuses=[0x0000, status, 0x0000]).running() as pacs:
        assert sent(pacs.port, parcels) == [
            (Outcome.DONE, Reason.STORED),
            (outcome, reason),
            (Outcome.DONE, Reason.STORED),
        ]
        assert pacs.associations == 1


def test_only_what_is_sent_is_proposed(parcels):
    with StubPacs().running() as pacs:
        sent(pacs.port, [parcels[0], parcels[2]])
        assert pacs.contexts == [
            (SOP_CLASSES[kind], ("1.2.840.10008.1.2.1",)) for kind in (ResultKind.SEG, ResultKind.OVERLAY)
        ]


def test_a_refused_presentation_context_parks_that_object_only(parcels):
    with StubPacs(refused_classes=[SOP_CLASSES[ResultKind.SEG]]).running() as pacs:
        assert sent(pacs.port, parcels) == [
            (Outcome.PARKED, Reason.REFUSED_CONTEXT),
            (Outcome.DONE, Reason.STORED),
            (Outcome.DONE, Reason.STORED),
        ]


def test_a_pacs_that_takes_none_of_it_parks_all(parcels):
    with StubPacs(refused_classes=list(SOP_CLASSES.values())).running() as pacs:
        assert sent(pacs.port, parcels) == [(Outcome.PARKED, Reason.REFUSED_CONTEXT)] * 3


def test_an_object_that_makes_the_pacs_abort_does_not_keep_the_others_back(parcels):
    received = []

    def behave(connection, _over):
        accept_association(connection)
        for message_id in (1, 2, 3):
            context_id, data = read_c_store(connection)
            received.append(data)
            if len(received) == 1:
                connection.sendall(abort_pdu())
                return
            connection.sendall(p_data(c_store_response(0, message_id), context_id))

    with raw_server(behave) as port:
        assert sent(port, parcels) == [
            (Outcome.DEFERRED, Reason.ABORTED),
            (Outcome.DONE, Reason.STORED),
            (Outcome.DONE, Reason.STORED),
        ]
    assert received == [data_set_bytes(parcel.path) for parcel in parcels]


@pytest.mark.parametrize(("result", "later"), [(1, math.inf), (2, 0.0)], ids=["permanent", "transient"])
def test_a_rejected_association_is_deferred_with_its_reason_after_one_try(parcels, result, later):
    """A permanent one (called AE title not recognised) waits long: the PACS' administrator may mend it."""
    connections = []

    def behave(connection, _over):
        connections.append(1)
        read_pdu(connection)
        connection.sendall(reject_pdu(result, 1, 7))

    with raw_server(behave) as port:
        deliveries = list(destination(port).send_many(parcels))
    assert {(d.outcome, d.reason) for d in deliveries} == {(Outcome.DEFERRED, Reason.REFUSED_ASSOCIATION)}
    numbers = f"result {result} source 1 reason 7"
    assert deliveries[0].detail == f"association rejected: called AE title not recognized ({numbers})"
    assert deliveries[0].retry_after_seconds == later
    assert len(connections) == 1


@pytest.mark.parametrize("kilobytes", [0, 300])
@pytest.mark.parametrize("maximum_pdu_bytes", [0, 4_096, 16_382, 1_000_000])
def test_the_pacs_gets_our_bytes_whatever_its_pdu_length(tmp_path, kilobytes, maximum_pdu_bytes):
    parcel = make_parcel(tmp_path, extra_bytes=kilobytes * 1000)
    with StubPacs(maximum_pdu_bytes=maximum_pdu_bytes).running() as pacs:
        for _ in range(2):
            assert sent(pacs.port, [parcel]) == [(Outcome.DONE, Reason.STORED)]
        assert [data for _, data in pacs.received] == [data_set_bytes(parcel.path)] * 2


@pytest.mark.peer
@pytest.mark.parametrize(
    ("syntax", "option"), [(ImplicitVRLittleEndian, "+xi"), (DeflatedExplicitVRLittleEndian, "+xd")]
)
def test_a_data_set_is_sent_in_its_own_transfer_syntax_unchanged(tmp_path, syntax, option):
    parcel = make_parcel(tmp_path / "spool", extra_bytes=10_001, syntax=syntax)
    kept = tmp_path / "kept"
    with storescp(kept, option) as port:
        assert sent(port, [parcel]) == [(Outcome.DONE, Reason.STORED)]
    (path,) = kept.iterdir()
    assert data_set_bytes(path) == data_set_bytes(parcel.path)


# -- peers that hang: every wait has an end -------------------------------------------------------------------------


def silent(_connection, over):
    over.wait()


def drip(connection, over):
    """Answer one byte at a time, for ever."""
    read_pdu(connection)
    for byte in b"\x02\x00\x00\x00\xff\xff" + bytes(70_000):
        connection.sendall(bytes([byte]))
        if over.wait(0.05):
            return


def no_answer_to_store(connection, over):
    accept_association(connection)
    over.wait()


def stops_in_mid_response(connection, over):
    accept_association(connection)
    read_c_store(connection)
    connection.sendall(b"\x04\x00\x00\x00\x00\x60half")
    over.wait()


@pytest.mark.parametrize("behave", [silent, drip, no_answer_to_store, stops_in_mid_response])
@pytest.mark.parametrize("extra_bytes", [0, 12_000_000], ids=["small", "large"])
def test_a_pacs_that_hangs_holds_us_no_longer_than_the_bound(tmp_path, behave, extra_bytes):
    """Also one that stops reading in the middle of a large object."""
    parcel = make_parcel(tmp_path, extra_bytes=extra_bytes)
    with raw_server(behave) as port:
        sender = destination(port, timeout_seconds=0.4)
        results = []
        thread = threading.Thread(target=lambda: results.extend(sender.send_many([parcel])), daemon=True)
        thread.start()
        thread.join(sender.bound_seconds(0))
        assert [(d.outcome, d.reason) for d in results] == [(Outcome.DEFERRED, Reason.TIMEOUT)]


def test_an_address_that_swallows_connections_is_away_after_our_timeout(tmp_path, parcels):
    with full_backlog() as port:
        started = time.monotonic()
        deliveries = list(destination(port, timeout_seconds=0.4).send_many(parcels))
        assert [(d.reason, d.away) for d in deliveries] == [(Reason.AWAY, True)] * 3
        assert time.monotonic() - started < 10  # the kernel alone would take minutes


def test_a_name_that_does_not_resolve_is_away(parcels):
    peer = Peer("no-such-host.invalid", 104, "PACS", "EDGE")
    (first, *_) = DicomDestination("pacs", peer, 0.5).send_many(parcels)
    assert (first.outcome, first.reason) == (Outcome.DEFERRED, Reason.AWAY)
    odd = Peer("a" * 70 + ".invalid", 104, "PACS", "EDGE")
    (first, *_) = DicomDestination("pacs", odd, 0.5).send_many(parcels)
    assert (first.outcome, first.reason) == (Outcome.DEFERRED, Reason.AWAY)


# -- peers that break the protocol ----------------------------------------------------------------------------------


BROKEN = {
    "closes": b"",
    "abort": abort_pdu(),
    "release": struct.pack(">BBLL", 5, 0, 4, 0),
    "not dicom": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "empty pdv": struct.pack(">BBLL", 4, 0, 4, 0),
    "pdv beyond the pdu": struct.pack(">BBLLBB", 4, 0, 6, 9_999, 1, 3),
    "data set": p_data(b"xx", header=2),
    "another message": p_data(c_store_response(message_id=9)),
    "another kind": p_data(c_store_response(field=0x8030)),
    "no status": p_data(c_store_response()[:-10]),
    "cut element": p_data(c_store_response() + b"\0\0"),
    "endless command": p_data(bytes(60_000), header=1) * 3,
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_breaks_the_protocol_is_no_success(tmp_path, answer):
    def behave(connection, _over):
        accept_association(connection)
        read_c_store(connection)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    with raw_server(behave) as port:
        assert sent(port, [make_parcel(tmp_path)], 1.0) == [(Outcome.DEFERRED, Reason.ABORTED)]


def test_a_pdu_of_gigabytes_is_refused_at_its_header(tmp_path):
    def behave(connection, over):
        accept_association(connection)
        read_c_store(connection)
        connection.sendall(b"\x04\x00\xff\xff\xff\xff")
        over.wait()

    with raw_server(behave) as port:
        assert sent(port, [make_parcel(tmp_path)], 1.0) == [(Outcome.DEFERRED, Reason.ABORTED)]


def test_a_response_in_pieces_is_a_response(tmp_path):
    """The command may come in any number of fragments, and several in one PDU (PS3.8 Annex E)."""
    whole = c_store_response(0xB000)

    def behave(connection, _over):
        accept_association(connection)
        read_c_store(connection)
        two = p_data(whole[3:9], header=1)[6:] + p_data(whole[9:20], header=1)[6:]
        connection.sendall(p_data(whole[:3], header=1) + struct.pack(">BBL", 4, 0, len(two)) + two)
        connection.sendall(p_data(whole[20:]))
        read_pdu(connection)

    with raw_server(behave) as port:
        assert sent(port, [make_parcel(tmp_path)], 1.0) == [(Outcome.DONE, Reason.WARNING)]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x02\x00\x00\x00\x00\x02hi",
        b"\x02\x00\x00\x00\x00\x50" + bytes(80),
        b"\x03\x00\x00\x00\x00\x01\x00",
        b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00",
        b"\x00\xff\xff\xff\xff\xff",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_a_negotiation_that_breaks_the_protocol_means_away(parcels, answer):
    connections = []

    def behave(connection, _over):
        connections.append(1)
        read_pdu(connection)
        connection.sendall(answer)

    with raw_server(behave) as port:
        deliveries = list(destination(port, 1.0).send_many(parcels))
    assert {(d.outcome, d.reason, d.away) for d in deliveries} == {(Outcome.DEFERRED, Reason.ABORTED, True)}
    assert len(connections) == 1


def test_close_from_another_thread_cuts_a_send_short(tmp_path):
    parcel = make_parcel(tmp_path)
    with raw_server(no_answer_to_store) as port:
        sender = destination(port, timeout_seconds=60)
        results = []
        thread = threading.Thread(target=lambda: results.extend(sender.send_many([parcel])), daemon=True)
        thread.start()
        wait_until(lambda: sender._association is not None)
        time.sleep(0.1)
        sender.close()
        thread.join(10)
        assert [(d.outcome, d.reason) for d in results] == [(Outcome.DEFERRED, Reason.ABORTED)]


# -- power loss in the middle ---------------------------------------------------------------------------------------

SEND = """
import sys
from pathlib import Path
from edge_runtime.deliver.base import Parcel
from edge_runtime.deliver.dicom import DicomDestination, Peer
from edge_runtime.result_objects import ResultKind
port, path, digest, sop_class, sop_instance = sys.argv[1:]
parcel = Parcel("job-1", ResultKind.OVERLAY, Path(path), digest, sop_class, sop_instance, "overlay.dcm")
print(list(DicomDestination("pacs", Peer("127.0.0.1", int(port), "PACS", "EDGE"), 20).send_many([parcel])))
"""


def test_killed_in_the_middle_of_a_send_the_next_send_gives_the_same_bytes(tmp_path):
    parcel = make_parcel(tmp_path, extra_bytes=20_000_000)
    started = threading.Event()

    def stops_reading(connection, over):
        accept_association(connection)
        for _ in range(20):
            read_pdu(connection)
        started.set()
        over.wait()

    with raw_server(stops_reading) as port:
        arguments = [str(port), str(parcel.path), parcel.sha256, parcel.sop_class_uid, parcel.sop_instance_uid]
        process = subprocess.Popen([sys.executable, "-c", SEND, *arguments])
        assert started.wait(20)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with StubPacs().running() as pacs:
        assert sent(pacs.port, [parcel]) == [(Outcome.DONE, Reason.STORED)]
        assert [data for _, data in pacs.received] == [data_set_bytes(parcel.path)]


@pytest.mark.peer
def test_orthanc_holds_each_object_once_however_often_it_is_sent(tmp_path, parcels):
    with orthanc(tmp_path / "orthanc") as peer:
        for _ in range(2):
            assert {o for o, _ in sent(peer.dicom_port, parcels, called=peer.ae_title)} == {Outcome.DONE}
        assert sorted(peer.instances()) == sorted(p.sop_instance_uid for p in parcels)
