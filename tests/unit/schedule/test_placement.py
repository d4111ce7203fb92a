"""Where studies run beside live frames, and what is said of it."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.config import Config, Match, Pipeline, Schedule, Spool, Stage, Video
from edge_runtime.schedule.placement import place

LIVE = Pipeline("endoscopy", (Stage("look", "e1"), Stage("detect", "e2")))
STUDY = Pipeline("ct", (Stage("triage", "e3"), Stage("volume", "e4")), match=Match(("CT",)))


def config(studies="auto", live=LIVE, others=(STUDY,), deadlines=(0.05,)):
    video = tuple(Video(f"tower-{k}", live.name, url="x.mp4", deadline_seconds=d) for k, d in enumerate(deadlines))
    return Config(Spool("spool"), (live, *others), video=video, schedule=Schedule(studies=studies))


def lengths(look=0.005, detect=0.01, triage=0.004, volume=0.03):
    return {
        ("endoscopy", "look"): look,
        ("endoscopy", "detect"): detect,
        ("ct", "triage"): triage,
        ("ct", "volume"): volume,
    }


def test_without_live_sources_nothing_is_placed():
    assert place(dataclasses.replace(config(), video=()), {}) == place(config(others=()), {})
    assert not place(dataclasses.replace(config(), video=()), {}).worker


def test_studies_whose_runs_fit_between_live_frames_share_the_accelerator():
    found = place(config(), lengths())
    assert not found.worker
    assert found.refused == ""
    assert found.lines == (
        "ct: runs between live frames: its longest run, of stage volume, is 30 ms, and live frames of source tower-0 "
        "have 35 ms to spare; past its deadline, it gets one run after each live run: a live stage then waits up to "
        "30 ms more",
    )


def test_a_run_that_is_too_long_puts_studies_into_their_own_worker():
    found = place(config(), lengths(volume=0.036))
    assert found.worker
    assert found.lines == (
        "ct: runs in its own worker of low priority: its longest run, of stage volume, is 36 ms, and live frames of "
        "source tower-0 have 35 ms to spare; past its deadline, that worker has the priority of live frames",
    )


def test_the_tightest_source_counts():
    assert place(config(deadlines=(0.2, 0.05)), lengths(volume=0.04)).worker
    assert not place(config(deadlines=(0.2, 0.06)), lengths(volume=0.04)).worker


def test_lengths_that_are_not_known_put_studies_into_their_own_worker():
    found = place(config(), lengths(volume=None))
    assert found.worker
    assert "how long a run of its stage volume is stands in no passport" in found.lines[0]
    found = place(config(), lengths(detect=None))
    assert found.worker
    assert "how long the live stages of source tower-0 are stands in no passport" in found.lines[0]


def test_shared_is_refused_where_a_run_is_too_long_with_both_numbers_and_what_to_do():
    found = place(config("shared"), lengths(volume=0.2))
    assert found.refused == (
        "schedule.studies is shared, but one run of stage volume of pipeline ct takes 200 ms and cannot be "
        "interrupted, and live frames of source tower-0 have 35 ms to spare within their 50 ms; write "
        "schedule.studies: auto, or a longer deadline_seconds for the source"
    )


def test_what_the_configuration_says_is_done():
    assert place(config("worker"), lengths()).worker
    assert "(schedule.studies: worker)" in place(config("worker"), lengths()).lines[0]
    shared = place(config("shared"), lengths(volume=None))
    assert (shared.worker, shared.refused) == (False, "")
    assert "(schedule.studies: shared)" in shared.lines[0]


def test_a_pipeline_of_live_frames_that_takes_series_too_is_a_study_beside_itself():
    both = dataclasses.replace(LIVE, match=Match(("ES",)))
    found = place(config(live=both, others=()), lengths())
    assert found.lines[0].startswith("endoscopy: runs between live frames")


@given(st.floats(0.0001, 1.0), st.floats(0.0001, 1.0), st.floats(0.001, 1.0))
def test_studies_share_exactly_where_their_longest_run_is_within_the_slack(volume, look, deadline):
    found = place(config(deadlines=(deadline,)), lengths(look=look, detect=0.0, triage=0.0, volume=volume))
    assert found.worker == (volume > deadline - look)
    assert bool(place(config("shared", deadlines=(deadline,)), lengths(look, 0.0, 0.0, volume)).refused) == found.worker
