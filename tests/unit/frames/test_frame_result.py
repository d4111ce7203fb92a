"""What infer says of a frame arrives as it was said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_runtime.domain import (
    Analysis,
    Answer,
    Box,
    Code,
    EngineIdentity,
    Finding,
    Mask,
    Measurement,
    StageOutcome,
    StageRecord,
)
from edge_runtime.frames.frame_result import FrameResult, decode, encode

POLYP = Code("68496003", "SCT", "Polyp of colon")
ENGINE = EngineIdentity("finder", "1", "ab" * 32, "int8", "onnxruntime 1", "Tests only.")
MILLIMETRE = Code("mm", "UCUM", "millimeter")


def result(masks=(), findings=(), **changes):
    stages = (StageRecord("find", ENGINE, StageOutcome.SKIPPED, "no time", 0.25, 2),)
    values = {
        "source": "tower", "pipeline": "p", "sequence": 3, "buffer": 2, "captured_at": 10.0, "captured_unix": 1e9,
        "concluded_at": 10.03, "deadline_seconds": 0.05, "rows": 6, "columns": 5,
        "analysis": Analysis(stages, tuple(findings), tuple(masks)), "notes": ("a note",),
    }  # fmt: skip
    return FrameResult(**{**values, **changes})


def plain(found):
    masks = [(m.number, m.label, m.category, m.kind, m.stage, m.voxels.tolist()) for m in found.analysis.masks]
    rest = {name: value for name, value in vars(found).items() if name != "analysis"}
    return rest, found.analysis.stages, found.analysis.findings, masks


@given(
    arrays.arrays(np.bool_, st.tuples(st.just(1), st.integers(1, 9), st.integers(1, 9))),
    st.none() | st.floats(0, 1),
    st.sampled_from(list(Answer)),
    st.text(max_size=20),
)
def test_a_result_arrives_as_it_was_sent(voxels, probability, answer, text):
    measured = (Measurement(Code("1", "DCM", "Length"), 3.5, MILLIMETRE),)
    finding = Finding("find", "polyp", POLYP, answer, probability, 0.5, measured, Box((0, 1, 2), (1, 3, 4)), 1)
    mask = Mask(1, "polyp", POLYP, POLYP, "outline", voxels)
    sent = result([mask, mask], [finding, finding], notes=(text,))
    assert plain(decode(encode(sent))) == plain(sent)


def test_a_result_without_findings_arrives():
    assert plain(decode(encode(result()))) == plain(result())


def test_a_mask_of_a_whole_picture_is_a_small_message():
    mask = Mask(1, "polyp", POLYP, POLYP, "outline", np.ones((1, 1080, 1920), np.bool_))
    assert len(encode(result([mask]))) < 10_000


def test_late_is_after_the_deadline():
    assert not result(concluded_at=10.05 - 1e-9).late
    assert result(concluded_at=10.0501).late
    assert result(concluded_at=10.0501).age_seconds == pytest.approx(0.0501)


@pytest.mark.parametrize("changes", [{"sequence": 0}, {"deadline_seconds": 0.0}])
def test_a_result_that_cannot_be_is_refused(changes):
    with pytest.raises(ValueError, match="number from 1"):
        result(**changes)
