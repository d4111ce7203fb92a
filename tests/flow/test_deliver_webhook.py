"""Events over real sockets: what the receiver can check, what is sent again, and what the whole daemon announces."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.dicom_peers import RecordingMetrics
from support.hooks import KEY, StubHook, hook_settings, make_authority, write_key
from support.pacs import full_backlog, raw_server, wait_until
from support.parcels import MemoryQueue, make_parcel
from support.site import PATIENT_ID, PATIENT_NAME, ball_series, send_series, write_config

from benchmarks.daemon import Daemon
from edge_runtime.deliver.base import Delivery, Outcome, Reason
from edge_runtime.deliver.registry import build_destination
from edge_runtime.deliver.worker import DeliveryWorker, Retry
from edge_runtime.result_objects import ResultKind


@pytest.fixture
def event(tmp_path):
    return make_parcel(tmp_path / "spool", ResultKind.EVENT)


def post(folder: Path, url: str, parcel, **keys) -> Delivery:
    (delivery,) = build_destination(hook_settings(folder, url, **keys), "EDGE").send_many([parcel])
    return delivery


def url_of(port: int, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{port}/edge?site=1"


def test_the_receiver_can_check_who_sent_the_event(tmp_path, event):
    with StubHook().running() as hook:
        assert post(tmp_path, url_of(hook.port), event).outcome is Outcome.DONE
    (got,) = hook.posts
    assert got.path == "/edge?site=1"
    assert got.body == event.path.read_bytes()
    assert got.is_signed() and not got.is_signed(KEY[::-1])
    assert abs(got.signed_at - time.time()) < 60
    assert got.headers["Idempotency-Key"] == event.sha256
    assert got.headers["Content-Type"] == "application/json"


def test_a_busy_receiver_gets_the_same_bytes_under_the_same_key_until_it_takes_them(tmp_path, event):
    answers = [(503, {"Retry-After": "0"}), (429, {}), (500, {}), (204, {})]
    queue, metrics = MemoryQueue(), RecordingMetrics()
    with StubHook(lambda number: answers[min(number, 4) - 1]).running() as hook:
        settings = hook_settings(tmp_path, url_of(hook.port))
        worker = DeliveryWorker(build_destination(settings, "EDGE"), queue, metrics, Retry(0.05, 0.2))
        number = queue.put(event)
        worker.start()
        wait_until(lambda: len(queue.finished.get(number, [])) == 4)
        assert worker.stop(5)
    assert queue.reasons(number) == ["http_status"] * 3 + ["stored"]
    assert {got.body for got in hook.posts} == {event.path.read_bytes()}
    assert {got.headers["Idempotency-Key"] for got in hook.posts} == {event.sha256}
    assert len(hook.posts) == 4 and all(got.is_signed() for got in hook.posts)
    assert metrics.values["edge_destination_up", "alert"] == 1.0


def test_a_receiver_may_name_the_time_of_the_next_attempt(tmp_path, event):
    with StubHook(lambda _: (503, {"Retry-After": "120"})).running() as hook:
        delivery = post(tmp_path, url_of(hook.port), event)
    assert (delivery.outcome, delivery.retry_after_seconds) == (Outcome.DEFERRED, 120.0)


@pytest.mark.parametrize(("status", "reason"), [(400, "http_status"), (404, "http_status"), (401, "not_authorised")])
def test_a_refused_event_is_parked(tmp_path, event, status, reason):
    with StubHook(lambda _: (status, {})).running() as hook:
        delivery = post(tmp_path, url_of(hook.port), event)
    assert (delivery.outcome, delivery.reason.value) == (Outcome.PARKED, reason)


def test_a_redirect_is_not_followed(tmp_path, event):
    with StubHook().running() as elsewhere:
        away = (307, {"Location": url_of(elsewhere.port)})
        with StubHook(lambda _: away).running() as hook:
            delivery = post(tmp_path, url_of(hook.port), event)
    assert delivery.outcome is Outcome.PARKED and "redirect" in delivery.detail
    assert elsewhere.posts == []


def silent(connection, over):
    over.wait(60)


def dripping(connection, over):
    """One byte of a header at a time: each comes in time, and there is no end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Wait: ")
    while not over.wait(0.1):
        connection.sendall(b"x")


def stammering(connection, over):
    connection.recv(65536)
    connection.sendall(b"hello\r\n")


@pytest.mark.parametrize("behave", [silent, dripping])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_hangs_is_given_up_in_its_time(tmp_path, event, behave, scheme):
    with raw_server(behave) as port:
        delivery = post(tmp_path, url_of(port, scheme), event, timeout_seconds=0.5)
    assert delivery.outcome is Outcome.DEFERRED
    broken = scheme == "https" and behave is dripping  # what is no TLS is told at once
    assert delivery.reason is (Reason.AWAY if broken else Reason.TIMEOUT)


def test_a_receiver_that_speaks_something_else_is_tried_again(tmp_path, event):
    with raw_server(stammering) as port:
        delivery = post(tmp_path, url_of(port), event)
    assert (delivery.outcome, delivery.reason) == (Outcome.DEFERRED, Reason.ABORTED)


def test_a_port_that_does_not_answer_is_away(tmp_path, event):
    with full_backlog() as port:
        delivery = post(tmp_path, url_of(port), event, timeout_seconds=0.5)
    assert (delivery.reason, delivery.away) == (Reason.AWAY, True)


def test_what_is_being_sent_can_be_cut_short(tmp_path, event):
    with raw_server(silent) as port:
        destination = build_destination(hook_settings(tmp_path, url_of(port), timeout_seconds=60.0), "EDGE")
        found: list[Delivery] = []
        thread = threading.Thread(target=lambda: found.extend(destination.send_many([event])))
        thread.start()
        wait_until(lambda: destination._socket is not None)
        destination.close()
        thread.join(10)
    assert [delivery.outcome for delivery in found] == [Outcome.DEFERRED]


def test_tls_is_trusted_by_the_authority_that_the_configuration_names(tmp_path, event):
    authority = make_authority(tmp_path / "ca")
    with StubHook(tls=authority.server).running() as hook:
        delivery = post(tmp_path, url_of(hook.port, "https"), event, ca_file=str(authority.ca_file))
    assert delivery.outcome is Outcome.DONE
    assert hook.posts[0].is_signed()


@pytest.mark.parametrize("wrong", ["unknown authority", "other authority", "other host", "no such file"])
def test_nothing_is_sent_to_a_receiver_whose_certificate_is_not_trusted(tmp_path, event, wrong):
    authority = make_authority(tmp_path / "ca", "127.0.0.2" if wrong == "other host" else "127.0.0.1")
    named = {
        "unknown authority": None,
        "other authority": str(make_authority(tmp_path / "other").ca_file),
        "other host": str(authority.ca_file),
        "no such file": str(tmp_path / "absent.pem"),
    }
    with StubHook(tls=authority.server).running() as hook:
        delivery = post(tmp_path, url_of(hook.port, "https"), event, ca_file=named[wrong])
    assert (delivery.outcome, delivery.reason, delivery.away) == (Outcome.DEFERRED, Reason.AWAY, True)
    assert "certificate" in delivery.detail or "ca_file" in delivery.detail
    assert hook.posts == []


def test_nothing_is_sent_unsigned_and_a_mended_key_is_used_without_a_restart(tmp_path, event):
    with StubHook().running() as hook:
        destination = build_destination(hook_settings(tmp_path, url_of(hook.port)), "EDGE")
        write_key(tmp_path / "alert.key", 0o644)
        (refused,) = destination.send_many([event])
        assert refused.reason is Reason.NO_KEY and hook.posts == []
        write_key(tmp_path / "alert.key")
        assert next(iter(destination.send_many([event]))).outcome is Outcome.DONE


def test_a_result_that_is_no_event_never_leaves(tmp_path):
    with StubHook().running() as hook:
        for kind in set(ResultKind) - {ResultKind.EVENT}:
            parcel = make_parcel(tmp_path / "spool", kind)
            assert post(tmp_path, url_of(hook.port), parcel).reason is Reason.WRONG_KIND
            assert post(tmp_path, url_of(hook.port), replace(parcel, sha256="0" * 64)).outcome is Outcome.PARKED
    assert hook.posts == []


def daemon_with(tmp_path, engines, *hooks):
    settings = [
        {"name": name, "type": "webhook", "url": url_of(hook.port), "retry_seconds": 0.2,
         "secret_file": str(write_key(tmp_path / "alert.key")), **keys}
        for name, hook, keys in hooks
    ]  # fmt: skip
    return Daemon(write_config(tmp_path / "site.yaml", engines, settings), tmp_path / "spool")


def dark_series(name, slices=8):
    """A series without anything to find."""
    series = ball_series(name, slices)
    for data_set in series:
        data_set.PixelData = bytes(len(data_set.PixelData))
    return series


def states(daemon):
    return [job["state"] for job in daemon.jobs()]


@pytest.mark.peer
def test_the_daemon_announces_a_positive_study_once_and_a_negative_not_at_all(tmp_path, engines):
    busy = {1: (503, {})}
    with (
        StubHook(lambda number: busy.get(number, (200, {}))).running() as hook,
        StubHook().running() as everything,
        daemon_with(
            tmp_path, engines, ("alert", hook, {}), ("all", everything, {"announce": "all", "identifiers": "accession"})
        ) as daemon,
    ):
        daemon.wait_ready()
        send_series(dark_series("dark"), tmp_path / "dark", daemon)
        wait_until(lambda: states(daemon) == ["delivered"], 60)
        send_series(ball_series("bright"), tmp_path / "bright", daemon)
        wait_until(lambda: states(daemon) == ["delivered", "delivered"], 60)
        wait_until(lambda: daemon.metric("edge_deliveries_total", destination="alert", outcome="done") == 1)
    assert [json.loads(got.body)["answer"] for got in everything.posts] == ["negative", "positive"]
    first, second = hook.posts
    assert first.body == second.body and first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    document = json.loads(first.body)
    assert (document["answer"], document["pipeline"], document["complete"]) == ("positive", "find-ball", True)
    study = str(ball_series("bright")[0].StudyInstanceUID)
    secrets = [*PATIENT_NAME.split("^"), PATIENT_ID, "ACC-4711", study]
    assert not [secret for secret in secrets if secret in first.body.decode()]
    named = json.loads(everything.posts[1].body)
    assert (named["accession_number"], named["study_instance_uid"]) == ("ACC-4711", study)
    assert "ACC-4711" not in daemon.log.read_text()


@pytest.mark.peer
def test_an_amendment_is_announced_when_it_changes_the_answer(tmp_path, engines):
    """Dark, dark with one more slice, then bright ones: only the last is worth an event, and names what it amends."""
    dark, bright = dark_series("amended", 12), ball_series("amended", 12)
    with StubHook().running() as hook, daemon_with(tmp_path, engines, ("alert", hook, {})) as daemon:
        daemon.wait_ready()
        for revision, part in enumerate([dark[:5], dark[5:6], bright[6:]], start=1):
            send_series(part, tmp_path / str(revision), daemon)
            wait_until(lambda n=revision: states(daemon) == ["delivered"] * n, 60)
        second = next(job for job in daemon.jobs() if job["revision"] == 2)
    (event,) = [json.loads(got.body) for got in hook.posts]
    assert (event["revision"], event["answer"]) == (3, "positive")
    assert event["replaces"] == second["id"]
