"""Text and times as DICOM values."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.report.text import iso, moment, offset_of, plain


@given(st.text(), st.integers(8, 64))
def test_own_text_is_printable_ascii_without_backslash_within_its_limit(text, limit):
    clean = plain(text, limit)
    assert len(clean) <= limit
    assert clean.isascii()
    assert clean == "" or clean.isprintable()
    assert "\\" not in clean
    assert plain(clean, limit) == clean


def test_accents_are_folded_and_what_cannot_be_folded_is_marked():
    assert plain("Läsion  größer\n\\ 脳") == "Lasion grosser / ?"


@pytest.mark.parametrize(
    ("value", "hours"), [("+0200", 2), ("-0330", -3.5), (" +1400 ", 14), ("+9900", 0), ("", 0), (None, 0), ("CET", 0)]
)
def test_only_a_valid_timezone_offset_of_the_source_is_used(value, hours):
    assert offset_of(value).utcoffset(None) == timedelta(hours=hours)


def test_a_time_is_the_same_instant_in_every_zone():
    assert moment(1_795_000_000.25, offset_of("+0200")) == moment(1_795_000_000.25)
    assert moment(1_795_000_000.25, offset_of("+0200")).strftime("%H%M%S.%f") == "130640.250000"


def test_a_deadline_that_is_never_has_no_iso_time():
    assert iso(float("inf")) is None
    assert iso(0.5) == "1970-01-01T00:00:00.500000Z"
