"""Delivery by STOW-RS to services that behave: per-object answers, statuses, hangs."""

from __future__ import annotations

import json
import math
import threading
import time

import pytest
from support.pacs import StubWeb, full_backlog, orthanc, raw_server, store_response
from support.parcels import make_parcel

from edge_runtime.deliver.base import Outcome, Reason
from edge_runtime.deliver.dicomweb import DicomWebDestination
from edge_runtime.result_objects import ResultKind

KINDS = (ResultKind.SEG, ResultKind.SR, ResultKind.OVERLAY)


def sent(url: str, parcels, timeout_seconds: float = 3.0):
    return list(DicomWebDestination("web", url, timeout_seconds).send_many(parcels))


def outcomes(deliveries):
    return [(d.outcome, d.reason) for d in deliveries]


@pytest.fixture
def parcels(tmp_path):
    return [make_parcel(tmp_path / "spool", kind) for kind in KINDS]


def test_objects_go_whole_over_one_connection_as_multipart_related(parcels):
    with StubWeb().running() as web:
        assert outcomes(sent(web.url, parcels)) == [(Outcome.DONE, Reason.STORED)] * 3
        assert web.received == [parcel.path.read_bytes() for parcel in parcels]
        assert web.connections == 1
        for headers in web.headers:
            assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"; boundary=')
            assert headers["Accept"] == "application/dicom+json"


def test_one_objects_failure_is_its_own_though_http_says_200(parcels):
    def second_fails(uid):
        failure = 0xA900 if uid == parcels[1].sop_instance_uid else None
        return 200, {}, json.dumps(store_response(uid, failure)).encode()

    with StubWeb(second_fails).running() as web:
        assert outcomes(sent(web.url, parcels)) == [
            (Outcome.DONE, Reason.STORED),
            (Outcome.PARKED, Reason.DATA_SET_MISMATCH),
            (Outcome.DONE, Reason.STORED),
        ]


@pytest.mark.parametrize(
    ("status", "expected", "requests"),
    [
        (400, (Outcome.PARKED, Reason.HTTP_STATUS), 3),
        (413, (Outcome.PARKED, Reason.HTTP_STATUS), 3),
        (500, (Outcome.DEFERRED, Reason.HTTP_STATUS), 3),
        (503, (Outcome.DEFERRED, Reason.HTTP_STATUS), 1),
        (507, (Outcome.DEFERRED, Reason.OUT_OF_RESOURCES), 1),
        (401, (Outcome.DEFERRED, Reason.NOT_AUTHORISED), 1),
        (404, (Outcome.DEFERRED, Reason.HTTP_STATUS), 1),
    ],
)
def test_a_status_of_the_object_tries_the_others_and_one_of_the_site_does_not(parcels, status, expected, requests):
    with StubWeb(lambda uid: (status, {}, b"")).running() as web:
        assert outcomes(sent(web.url, parcels)) == [expected] * 3
        assert len(web.received) == requests


def test_a_redirect_is_not_followed(parcels):
    """A redirected POST would become a GET and its 200 a false success."""
    with StubWeb().running() as other, StubWeb(lambda uid: (302, {"Location": other.url}, b"")).running() as web:
        assert outcomes(sent(web.url, parcels[:1])) == [(Outcome.DEFERRED, Reason.HTTP_STATUS)]
        assert other.connections == 0


def test_a_login_page_that_answers_200_is_no_confirmation(parcels):
    with StubWeb(lambda uid: (200, {"Content-Type": "text/html"}, b"<html>log in")).running() as web:
        (delivery,) = sent(web.url, parcels[:1])
    assert (delivery.outcome, delivery.reason) == (Outcome.DEFERRED, Reason.UNCONFIRMED)
    assert delivery.retry_after_seconds == math.inf


def test_retry_after_is_kept(parcels):
    with StubWeb(lambda uid: (503, {"Retry-After": "17"}, b"")).running() as web:
        (delivery,) = sent(web.url, parcels[:1])
    assert delivery.retry_after_seconds == 17


def test_an_endless_answer_is_no_confirmation(parcels):
    with StubWeb(lambda uid: (200, {}, b" " * 3_000_000)).running() as web:
        assert outcomes(sent(web.url, parcels[:1])) == [(Outcome.DEFERRED, Reason.UNCONFIRMED)]


def silent(_connection, over):
    over.wait()


def reads_and_says_nothing(connection, over):
    connection.settimeout(0.05)
    while not over.is_set():
        try:
            if not connection.recv(1 << 20):
                return
        except TimeoutError:
            continue


def drips_its_body(connection, over):
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not over.wait(0.05):
        connection.sendall(b" ")


@pytest.mark.parametrize("extra_bytes", [0, 12_000_000], ids=["small", "large"])
@pytest.mark.parametrize("behave", [silent, reads_and_says_nothing, drips_its_body])
def test_a_service_that_hangs_holds_us_no_longer_than_the_bound(tmp_path, behave, extra_bytes):
    if behave is drips_its_body and extra_bytes:
        extra_bytes = 20_000  # it must take the whole object before it drips
    parcel = make_parcel(tmp_path, extra_bytes=extra_bytes)
    with raw_server(behave) as port:
        sender = DicomWebDestination("web", f"http://127.0.0.1:{port}", 0.4)
        results = []
        thread = threading.Thread(target=lambda: results.extend(sender.send_many([parcel])), daemon=True)
        thread.start()
        thread.join(sender.bound_seconds(0))
    assert outcomes(results) == [(Outcome.DEFERRED, Reason.TIMEOUT)]


def test_a_connection_that_breaks_defers_that_object_and_tries_the_next(parcels):
    connections = []

    def closes(connection, _over):
        connections.append(1)
        connection.recv(1000)

    with raw_server(closes) as port:
        assert outcomes(sent(f"http://127.0.0.1:{port}", parcels)) == [(Outcome.DEFERRED, Reason.ABORTED)] * 3
    assert len(connections) == 3


def test_an_address_that_swallows_connections_is_away_after_our_timeout(parcels):
    with full_backlog() as port:
        started = time.monotonic()
        deliveries = sent(f"http://127.0.0.1:{port}", parcels, 0.4)
    assert [(d.reason, d.away) for d in deliveries] == [(Reason.AWAY, True)] * 3
    assert time.monotonic() - started < 10


def test_a_plain_port_is_no_tls_port_and_that_is_the_sites_to_mend(parcels):
    """With https nothing is sent in the clear, and the login in the address is not in what is logged."""
    with StubWeb().running() as web:
        url = web.url.replace("http://", "https://user:secret@")
        (delivery, *_) = sent(url, parcels)
        assert web.received == []
    assert (delivery.outcome, delivery.reason, delivery.away) == (Outcome.DEFERRED, Reason.AWAY, True)
    assert delivery.retry_after_seconds == math.inf
    assert "secret" not in delivery.detail


@pytest.mark.peer
def test_orthanc_gives_back_the_very_object_after_two_sends(tmp_path, parcels):
    with orthanc(tmp_path / "orthanc") as peer:
        for _ in range(2):
            assert {d.outcome for d in sent(peer.url, parcels, 10)} == {Outcome.DONE}
        assert sorted(peer.instances()) == sorted(p.sop_instance_uid for p in parcels)
        for parcel in parcels:
            assert peer.file(parcel.sop_instance_uid) == parcel.path.read_bytes()


def test_a_duplicate_that_the_service_calls_failed_is_done(parcels):
    def known(uid):
        return 409, {}, json.dumps(store_response(uid, 0x0111)).encode()

    with StubWeb(known).running() as web:
        assert outcomes(sent(web.url, parcels[:1])) == [(Outcome.DONE, Reason.DUPLICATE)]
