"""What is to be sent where, and what a refusal means."""

import socket
from dataclasses import replace

import pytest
from support.hooks import hook_settings
from support.mounts import mounted, unwritable
from support.spools import make_config

from edge_runtime.config import SendTo
from edge_runtime.deliver.base import Delivery, Outcome, Reason, SendFailed
from edge_runtime.deliver.policy import delivery_of_rejection
from edge_runtime.doctor import check
from edge_runtime.doctor.check import Site
from edge_runtime.doctor.destinations import (
    classes_for,
    dicomweb_check,
    examine_destination,
    folder_check,
    kinds_for,
    webhook_todo,
    why_no_association,
)
from edge_runtime.doctor.sending import sent_check
from edge_runtime.result_objects import ResultKind


@pytest.fixture
def config(tmp_path):
    """A folder, a PACS and a webhook, to which one pipeline sends."""
    base = make_config(tmp_path)
    hook = hook_settings(tmp_path, "http://127.0.0.1:9/edge")
    (pipeline,) = base.pipelines
    pipeline = replace(pipeline, send_to=(SendTo("disk"), SendTo("pacs", ("sr", "overlay")), SendTo("alert")))
    return replace(base, pipelines=(pipeline,), destinations=(*base.destinations, hook))


def failed(reason, detail="", cause=None):
    failure = SendFailed(Delivery(Outcome.DEFERRED, reason, detail, away=True))
    failure.__cause__ = cause
    return failure


def test_a_destination_is_asked_for_what_it_is_sent(config):
    assert kinds_for(config, "disk") == (ResultKind.SR, ResultKind.SEG, ResultKind.OVERLAY, ResultKind.JSON)
    assert kinds_for(config, "pacs") == (ResultKind.SR, ResultKind.OVERLAY)
    assert kinds_for(config, "alert") == (ResultKind.EVENT,)
    assert [uid.rpartition(".5.1.4.1.1.")[2] for uid in classes_for(config, "pacs")] == ["88.34", "7"]


def test_a_destination_that_nobody_sends_to_is_warned_of(config, tmp_path):
    silent = replace(config, pipelines=())
    found = list(examine_destination(config.destinations[0], Site(silent, tmp_path)))
    assert found[0].outcome is check.Outcome.WARN and "no pipeline" in found[0].found


@pytest.mark.parametrize(
    ("failure", "found"),
    [
        (failed(Reason.AWAY, "", socket.gaierror(-2, "x")), "does not resolve"),
        (failed(Reason.AWAY, "", ConnectionRefusedError()), "connection refused"),
        (failed(Reason.AWAY, "", TimeoutError()), "time-out"),
        (failed(Reason.AWAY, "no route", OSError()), "no route"),
        (SendFailed(delivery_of_rejection(1, 1, 7)), "called AE title not recognized"),
        (SendFailed(delivery_of_rejection(1, 1, 3)), "calling AE title not recognized"),
        (SendFailed(delivery_of_rejection(2, 3, 2)), "local limit exceeded"),
        (SendFailed(delivery_of_rejection(1, 1, 1)), "no reason given"),
        (failed(Reason.TIMEOUT), "no answer to the association"),
        (failed(Reason.ABORTED, "PDU 0x48"), "not DICOM"),
    ],
)
def test_every_way_to_fail_is_told_apart_with_its_own_advice(failure, found):
    said, todo = why_no_association(failure, "PACS", "EDGE")
    assert found in said and todo


def test_the_advice_names_the_title_that_is_wrong():
    assert "'PACS'" in why_no_association(SendFailed(delivery_of_rejection(1, 1, 7)), "PACS", "EDGE")[1]
    assert "'EDGE'" in why_no_association(SendFailed(delivery_of_rejection(1, 1, 3)), "PACS", "EDGE")[1]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (204, "ok"), (401, "FAIL"), (403, "FAIL"), (404, "FAIL"), (405, "warn"), (500, "warn")],
)
def test_what_a_dicomweb_service_answers_is_judged(status, outcome):
    assert dicomweb_check("web", status).outcome.value == outcome


def test_a_folder_that_can_be_made_is_well_and_a_file_in_its_place_is_not(tmp_path):
    assert folder_check("disk", tmp_path / "a" / "b").outcome is check.Outcome.OK
    (tmp_path / "file").write_bytes(b"")
    assert folder_check("disk", tmp_path / "file").outcome is check.Outcome.FAIL


def test_a_folder_that_cannot_be_written_is_a_fail(tmp_path):
    with unwritable(tmp_path / "ro") as place:
        found = folder_check("disk", place / "out")
    assert found.outcome is check.Outcome.FAIL and "cannot be written" in found.found


def test_a_folder_on_a_full_disk_is_a_fail(tmp_path):
    with mounted(tmp_path / "small", "size=1m") as place:
        found = folder_check("disk", place / "out")
    assert found.outcome is check.Outcome.FAIL and "left" in found.found


@pytest.mark.parametrize(
    ("delivery", "outcome"),
    [
        (Delivery(Outcome.DONE, Reason.STORED), "ok"),
        (Delivery(Outcome.DONE, Reason.WARNING, "status 0xB000"), "warn"),
        (Delivery(Outcome.DEFERRED, Reason.AWAY), "FAIL"),
        (Delivery(Outcome.PARKED, Reason.REFUSED_CONTEXT), "FAIL"),
    ],
)
def test_a_test_object_that_was_not_stored_is_a_fail(delivery, outcome):
    for kind in ("dicom", "dicomweb", "folder", "webhook"):
        assert sent_check("pacs", kind, delivery).outcome.value == outcome


def test_an_event_that_is_not_signed_has_its_own_advice():
    advice = {webhook_todo(Delivery(Outcome.DEFERRED, reason)) for reason in (Reason.NO_KEY, Reason.HTTP_STATUS)}
    assert len(advice) == 2
