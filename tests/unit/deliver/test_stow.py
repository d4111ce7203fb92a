from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.deliver.base import Outcome, Reason
from edge_runtime.deliver.stow import delivery_of_response

UID = "1.2.3"


def item(uid=UID, failure=None, warning=None):
    made = {"00081155": {"vr": "UI", "Value": [uid]}}
    if failure is not None:
        made["00081197"] = {"vr": "US", "Value": [failure]}
    if warning is not None:
        made["00081196"] = {"vr": "US", "Value": [warning]}
    return made


def said(status, failed=None, referenced=None, other=None):
    sequences = {"00081198": failed, "00081199": referenced, "0008119A": other}
    answer = {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items is not None}
    delivery = delivery_of_response(status, json.dumps(answer).encode(), UID)
    return delivery.outcome, delivery.reason


def test_a_referenced_object_is_stored_though_an_empty_failed_sequence_is_there():
    assert said(200, failed=[], referenced=[item()]) == (Outcome.DONE, Reason.STORED)


def test_a_failed_object_is_not_done_though_http_says_200():
    assert said(200, failed=[item(failure=0xA700)]) == (Outcome.DEFERRED, Reason.OUT_OF_RESOURCES)


@pytest.mark.parametrize(
    ("failure", "outcome", "reason"),
    [
        (0x0110, Outcome.DEFERRED, Reason.PROCESSING_FAILURE),
        (0xA900, Outcome.PARKED, Reason.DATA_SET_MISMATCH),
        (0xC122, Outcome.PARKED, Reason.CANNOT_UNDERSTAND),
        (0x0122, Outcome.PARKED, Reason.REFUSED_CONTEXT),
        (0x0111, Outcome.DONE, Reason.DUPLICATE),
        (None, Outcome.PARKED, Reason.FAILED_SOP_SEQUENCE),
        (0, Outcome.PARKED, Reason.FAILED_SOP_SEQUENCE),
        (True, Outcome.PARKED, Reason.FAILED_SOP_SEQUENCE),
        (0xB000, Outcome.PARKED, Reason.FAILED_SOP_SEQUENCE),
        (0x1A700, Outcome.PARKED, Reason.FAILED_SOP_SEQUENCE),
        ("A700", Outcome.PARKED, Reason.FAILED_SOP_SEQUENCE),
    ],
)
def test_a_conflict_is_read_by_its_failure_reason(failure, outcome, reason):
    assert said(409, failed=[item(failure=failure)]) == (outcome, reason)


def test_a_warning_is_done():
    assert said(202, referenced=[item(warning=0xB000)]) == (Outcome.DONE, Reason.WARNING)


def test_another_objects_entry_says_nothing_of_ours():
    assert said(200, referenced=[item("9.9")]) == (Outcome.DEFERRED, Reason.UNCONFIRMED)
    assert said(200, failed=[item("9.9", failure=0xA900)], referenced=[item()]) == (Outcome.DONE, Reason.STORED)


def test_a_failure_that_names_no_object_is_ours():
    assert said(409, other=[{"00081197": {"vr": "US", "Value": [0x0110]}}]) == (
        Outcome.DEFERRED,
        Reason.PROCESSING_FAILURE,
    )


def test_a_list_of_one_response_is_read():
    body = json.dumps([{"00081199": {"vr": "SQ", "Value": [item()]}}]).encode()
    assert delivery_of_response(200, body, UID).outcome is Outcome.DONE


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"1", b"{}", b"\xff", b"[" * 100_000])
def test_a_success_without_a_readable_response_is_no_confirmation(body):
    delivery = delivery_of_response(200, body, UID)
    assert (delivery.outcome, delivery.reason) == (Outcome.DEFERRED, Reason.UNCONFIRMED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(UID),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["00081198", "00081199", "0008119A", "00081155", "00081197", "Value"]), inner)
    ),
)


@given(JSON, st.sampled_from([200, 202, 409]))
def test_no_response_breaks_the_reader(answer, status):
    delivery_of_response(status, json.dumps(answer).encode(), UID)
