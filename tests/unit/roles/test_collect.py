"""The pure parts of collecting: what a series is, and how long it must be quiet."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.assemble.header import SeriesHeader
from edge_runtime.roles.collect import seconds_until_quiet, series_key

HEADER = SeriesHeader(
    study_instance_uid="1.2.1", series_instance_uid="1.2.2", sop_class_uid="1.2.3", sop_instance_uid="1.2.4",
    transfer_syntax_uid="1.2.840.10008.1.2.1", patient_key="a" * 64, modality="CT", body_part=None,
    series_description=None, image_type=(), number_of_frames=1, rows=2, columns=2, has_pixels=True, own_result=False,
    burned_in_annotation=None, accession_number=None,
)  # fmt: skip

UIDS = st.text("0123456789.", min_size=1, max_size=64)
TIMES = st.floats(-1e10, 1e10)


def test_images_of_one_series_share_a_key_that_says_nothing_of_the_patient() -> None:
    key = series_key(HEADER)
    assert series_key(replace(HEADER, sop_instance_uid="1.9", modality="MR", rows=9)) == key
    assert len(key) == 64
    assert "1.2.1" not in key


@given(UIDS, UIDS, st.sampled_from(["a" * 64, "b" * 64]))
def test_another_patient_study_or_series_is_another_series(study: str, series: str, patient: str) -> None:
    other = replace(HEADER, study_instance_uid=study, series_instance_uid=series, patient_key=patient)
    same = (study, series, patient) == ("1.2.1", "1.2.2", "a" * 64)
    assert (series_key(other) == series_key(HEADER)) == same


@given(UIDS, UIDS)
def test_characters_do_not_wander_between_study_and_series(study: str, series: str) -> None:
    moved = replace(HEADER, study_instance_uid=study + series[:1], series_instance_uid=series[1:])
    assert series_key(replace(HEADER, study_instance_uid=study, series_instance_uid=series)) != series_key(moved)


def test_a_uid_with_broken_characters_still_has_a_key() -> None:
    assert len(series_key(replace(HEADER, series_instance_uid="1.2\udcff"))) == 64


@given(st.floats(0.0, 3600.0), TIMES, TIMES)
def test_the_wait_is_never_negative_and_never_longer_than_the_quiet_time(quiet: float, at: float, now: float) -> None:
    assert 0.0 <= seconds_until_quiet(quiet, at, now) <= quiet


@given(st.floats(1.0, 600.0), st.floats(0.0, 1.0))
def test_without_a_jump_of_the_clock_the_wait_is_what_is_left(quiet: float, part: float) -> None:
    now = 1_790_000_000.0
    left = seconds_until_quiet(quiet, now - part * quiet, now)
    assert abs(left - (1 - part) * quiet) < 1e-3


def test_a_series_that_was_quiet_while_the_daemon_was_off_is_complete_at_once() -> None:
    assert seconds_until_quiet(5.0, 1000.0, 5000.0) == 0.0


def test_a_clock_set_back_waits_the_whole_quiet_time_and_no_more() -> None:
    assert seconds_until_quiet(5.0, 5000.0, 1000.0) == 5.0
