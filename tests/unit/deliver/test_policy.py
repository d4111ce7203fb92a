from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.deliver.base import Delivery, Outcome, Reason
from edge_runtime.deliver.policy import (
    delivery_of_http,
    delivery_of_rejection,
    delivery_of_status,
    next_attempt_at,
    seconds_of_retry_after,
    wait_seconds,
)

FIRST = st.floats(1e-3, 1e3)
JITTER = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10**9), FIRST, st.floats(1, 1e5), JITTER, st.one_of(st.floats(0, 1e9), st.just(math.inf)))
def test_a_wait_is_positive_and_never_over_its_maximum(attempts, first, factor, jitter, at_least):
    wait = wait_seconds(attempts, first, first * factor, jitter, at_least)
    assert 0 < wait <= first * factor
    assert wait >= min(at_least, first * factor)


@given(st.integers(1, 200), FIRST, JITTER)
def test_a_wait_doubles_with_each_failure_less_at_most_a_quarter(attempts, first, jitter):
    nominal = first * 2.0 ** min(attempts - 1, 60)
    wait = wait_seconds(attempts, first, math.inf, jitter)
    assert 0.75 * nominal <= wait <= nominal


@given(st.integers(1, 10_000), FIRST, st.floats(1, 1e5))
def test_without_jitter_waits_never_shrink(attempts, first, factor):
    assert wait_seconds(attempts, first, first * factor, 0.0) <= wait_seconds(attempts + 1, first, first * factor, 0.0)


def test_the_known_sequence_of_waits():
    assert [wait_seconds(n, 2.0, 300.0, 0.0) for n in (1, 2, 3, 8, 9, 100_000)] == [2, 4, 8, 256, 300, 300]
    assert next_attempt_at(1_000.0, 1, 2.0, 300.0, 0.5) == pytest.approx(1_001.75)


def test_what_the_site_must_mend_waits_the_maximum():
    assert wait_seconds(1, 2.0, 300.0, 0.9, math.inf) == 300.0


@given(st.integers(0, 0xFFFF))
def test_every_dimse_status_has_one_meaning(status):
    delivery = delivery_of_status(status)
    assert isinstance(delivery, Delivery)
    done = status in (0, 1, 0x0107, 0x0111, 0x0116) or 0xB000 <= status <= 0xBFFF
    assert (delivery.outcome is Outcome.DONE) == done
    assert not delivery.away


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [
        (0x0000, Outcome.DONE, Reason.STORED),
        (0x0111, Outcome.DONE, Reason.DUPLICATE),
        (0xB000, Outcome.DONE, Reason.WARNING),
        (0xB007, Outcome.DONE, Reason.WARNING),
        (0xBFFF, Outcome.DONE, Reason.WARNING),
        (0xA700, Outcome.DEFERRED, Reason.OUT_OF_RESOURCES),
        (0xA7FF, Outcome.DEFERRED, Reason.OUT_OF_RESOURCES),
        (0x0213, Outcome.DEFERRED, Reason.OUT_OF_RESOURCES),
        (0x0110, Outcome.DEFERRED, Reason.PROCESSING_FAILURE),
        (0x0124, Outcome.DEFERRED, Reason.NOT_AUTHORISED),
        (0xA900, Outcome.PARKED, Reason.DATA_SET_MISMATCH),
        (0xC000, Outcome.PARKED, Reason.CANNOT_UNDERSTAND),
        (0xCFFF, Outcome.PARKED, Reason.CANNOT_UNDERSTAND),
        (0x0122, Outcome.PARKED, Reason.REFUSED_CONTEXT),
        (0x0117, Outcome.PARKED, Reason.REFUSED),
        (0xA800, Outcome.PARKED, Reason.REFUSED),
        (0xFF00, Outcome.PARKED, Reason.REFUSED),
        (0xD000, Outcome.PARKED, Reason.REFUSED),
    ],
)
def test_the_known_statuses_mean_what_the_standard_says(status, outcome, reason):
    delivery = delivery_of_status(status)
    assert (delivery.outcome, delivery.reason) == (outcome, reason)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_no_rejection_ever_gives_up(result, source, reason):
    delivery = delivery_of_rejection(result, source, reason)
    assert delivery.outcome is Outcome.DEFERRED
    assert delivery.away
    assert (delivery.retry_after_seconds == math.inf) == (result != 2)


@given(st.integers(-1, 100_000))
def test_every_http_status_has_one_meaning_and_none_alone_is_done(status):
    delivery = delivery_of_http(status)
    body_tells = 200 <= status <= 299 or status == 409
    assert (delivery is None) == body_tells
    if delivery is not None:
        assert delivery.outcome is not Outcome.DONE
        assert (delivery.outcome is Outcome.PARKED) == (status in (400, 413, 415, 422))


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 501])
def test_a_status_that_speaks_of_the_site_is_tried_again_late(status):
    delivery = delivery_of_http(status)
    assert delivery is not None
    assert (delivery.outcome, delivery.away, delivery.retry_after_seconds) == (Outcome.DEFERRED, True, math.inf)


def test_a_busy_server_says_when_to_come_back():
    delivery = delivery_of_http(503, 17.0)
    assert delivery is not None
    assert (delivery.away, delivery.retry_after_seconds) == (True, 17.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 100.0),
        ("Wed, 31 Dec 1969 00:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        (None, 0.0),
        ("-5", 0.0),
        ("٣", 0.0),
    ],
)
def test_retry_after_is_read_as_number_or_date(value, seconds):
    assert seconds_of_retry_after(value, 0.0) == seconds


@given(st.text(), st.floats(0, 4e9))
def test_no_retry_after_header_breaks_the_reader(value, now):
    assert seconds_of_retry_after(value, now) >= 0.0
