"""UIDs of results."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from support.report_sources import CONCLUDED_AT, ENGINE, job_result

from edge_runtime.domain import Analysis, InputInstance, JobResult, KeyImage, StageOutcome, StageRecord
from edge_runtime.report.uids import WRITER_VERSION, named_uid, result_digest, result_uid

UIDS = st.from_regex(r"2\.25\.[1-9][0-9]{0,9}", fullmatch=True)
HASHES = st.text("0123456789abcdef", min_size=8, max_size=8)
INPUTS = st.lists(
    st.builds(InputInstance, st.just("1.2.3"), UIDS, HASHES),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one.sop_instance_uid,
)


def result(inputs: list[InputInstance], sha256: str = "aa") -> JobResult:
    stage = StageRecord("brain", replace(ENGINE, sha256=sha256), StageOutcome.RAN)
    return job_result((), tuple(inputs), None, "MR", Analysis((stage,), ()), ())


@given(INPUTS, st.randoms(use_true_random=False))
def test_the_order_in_which_images_arrived_does_not_change_the_uids(inputs, random):
    shuffled = list(inputs)
    random.shuffle(shuffled)
    assert result_digest(result(inputs)) == result_digest(result(shuffled))


@given(INPUTS, st.data())
def test_another_image_or_another_byte_in_one_changes_the_uids(inputs, data):
    index = data.draw(st.integers(0, len(inputs) - 1))
    one = inputs[index]
    other = data.draw(st.sampled_from([replace(one, sha256=one.sha256 + "0"), replace(one, sop_instance_uid="2.25.0")]))
    changed = [*inputs[:index], other, *inputs[index + 1 :]]
    assert result_digest(result(inputs)) != result_digest(result(changed))
    if len(inputs) > 1:
        assert result_digest(result(inputs)) != result_digest(result(inputs[1:]))


def test_engine_stages_pipeline_revision_and_writer_each_change_the_uids():
    base = result([InputInstance("1.2.3", "2.25.7", "ff")])
    others = [
        result_digest(result([InputInstance("1.2.3", "2.25.7", "ff")], sha256="ab")),
        result_digest(replace(base, pipeline_stages="[]")),
        result_digest(replace(base, pipeline="other")),
        result_digest(replace(base, revision=2)),
        result_digest(base, writer_version=WRITER_VERSION + "x"),
    ]
    assert len({result_digest(base), *others}) == 6


def test_a_result_that_is_shown_in_colour_is_another_object_than_the_grey_one_of_before():
    base = result([InputInstance("1.2.3", "2.25.7", "ff")])
    grey = replace(base, key_images=(KeyImage(0, np.zeros((4, 4), np.uint8)),))
    colour = replace(base, key_images=(KeyImage(0, np.zeros((4, 4, 3), np.uint8)),))
    assert result_digest(base) == result_digest(grey) != result_digest(colour)


def test_times_and_the_server_made_job_id_do_not_change_the_uids():
    base = result([InputInstance("1.2.3", "2.25.7", "ff")])
    later = replace(base, job_id="j-2", concluded_at=CONCLUDED_AT + 60, first_received_at=1.0)
    assert result_digest(base) == result_digest(later)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_every_uid_is_a_valid_uuid_derived_uid_and_differs_for_differing_names(first, second):
    uid = named_uid(*first)
    assert len(uid) <= 64
    assert re.fullmatch(r"2\.25\.(0|[1-9][0-9]*)", uid)
    assert uuid.UUID(int=int(uid[5:])).version == 5
    assume(first != second)
    assert uid != named_uid(*second)


@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_the_kinds_of_one_result_have_different_uids(digest):
    kinds = [
        ("sr", "instance"),
        ("sr", "series"),
        ("seg", "instance"),
        ("overlay", "instance", "1"),
        ("overlay", "instance", "2"),
    ]
    assert len({result_uid(digest, *kind) for kind in kinds}) == len(kinds)


def test_a_uid_once_given_stays_the_same_for_ever():
    assert named_uid("device", "1") == "2.25.279682719697232266679357994788939027396"
