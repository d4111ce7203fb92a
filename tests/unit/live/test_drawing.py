"""Where outlines, boxes and words are on the picture, and that the words are those of the result."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.live_results import COLUMNS, POLYP, RAN, ROWS, SKIPPED, frame_result, numbered, polyp, polyp_mask

from edge_runtime.domain import BANNER, Answer, Finding, StageOutcome, StageRecord
from edge_runtime.live import drawing, lettering
from edge_runtime.live.drawing import colour, draw, lines_below, marks, scale_of

POLYP_COLOUR = colour("polyp")
GREY = numbered(444)


def frame_part(picture, rows=ROWS, columns=COLUMNS):
    """The pixels of the frame within a picture of the same scale."""
    top = lettering.line_rows(drawing._text_size(columns))
    left = (picture.shape[1] - columns) // 2
    return picture[top : top + rows, left : left + columns]


def test_a_mask_is_outlined_and_its_inside_is_left_as_it_is():
    plane = np.zeros((ROWS, COLUMNS), np.bool_)
    plane[100:200, 300:420] = True
    image = frame_part(draw(GREY, frame_result(masks=(polyp_mask(plane),)), 0.0))
    changed = (image != GREY).any(axis=-1)
    assert (image[changed] == POLYP_COLOUR).all()
    assert changed[100:102, 300:420].all() and changed[198:200, 300:420].all()
    assert changed[100:200, 300:302].all() and changed[100:200, 418:420].all()
    assert not changed[102:198, 302:418].any()
    changed[100:200, 300:420] = False
    assert not changed.any()


def test_a_box_is_drawn_with_its_label_and_probability_above_it(monkeypatch):
    written = []
    monkeypatch.setattr(drawing, "write", lambda area, text, size, ink: written.append(text) or len(text))
    image = frame_part(draw(GREY, frame_result(findings=(polyp(100, 300, 200, 420),)), 0.0))
    changed = (image != GREY).any(axis=-1)
    assert (image[100, 300:420] == POLYP_COLOUR).all() and (image[199, 300:420] == POLYP_COLOUR).all()
    assert (image[100:200, 300] == POLYP_COLOUR).all() and (image[100:200, 419] == POLYP_COLOUR).all()
    assert not changed[102:198, 302:418].any()
    assert "polyp 0.93" in written
    assert changed[100 - 5, 302:310].all() and not changed[:60].any()


def test_only_what_is_positive_is_boxed():
    answers = (Answer.NEGATIVE, Answer.NOT_EVALUATED)
    findings = tuple(polyp(100, 300, 200, 420, answer=answer) for answer in answers)
    assert np.array_equal(frame_part(draw(GREY, frame_result(findings=findings), 0.0)), GREY)


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (350, 630, 360, 640), (0, 0, ROWS, COLUMNS)])
def test_a_box_at_the_edge_has_its_label_within_the_frame(box):
    result = frame_result(findings=(polyp(*box),))
    picture = draw(GREY, result, 0.0)
    plain = draw(GREY, replace(result, analysis=replace(result.analysis, findings=())), 0.0)
    outside = picture.copy()
    frame_part(outside)[...] = frame_part(plain)
    assert np.array_equal(outside, plain), "nothing but the frame differs"
    tag = lettering.text_columns("polyp 0.93", 13)
    changed = (frame_part(picture) != GREY).any(axis=-1)
    assert changed.any(axis=0).sum() >= tag, "the label is whole"


def test_words_say_what_is_lacking_and_why_it_must_not_be_overlooked():
    failed = StageRecord("depth", RAN.engine, StageOutcome.FAILED)
    waiting = StageRecord("size", RAN.engine, StageOutcome.NOT_EVALUATED)
    result = frame_result(stages=(RAN, SKIPPED, failed, waiting))
    assert marks(result) == ("INCOMPLETE: outline skipped, depth failed, size not evaluated",)
    assert marks(frame_result(stages=(RAN,))) == ()
    not_needed = replace(SKIPPED, outcome=StageOutcome.NOT_NEEDED)
    assert marks(frame_result(stages=(RAN, not_needed))) == ()
    assert marks(frame_result(age_seconds=0.08)) == ("LATE: 30 ms after its deadline",)


def test_words_say_age_budget_time_source_and_what_the_whole_frame_is():
    informative = Finding("inside", "informative", POLYP, Answer.POSITIVE, 0.98, 0.5)
    unknown = Finding("inside", "clean", POLYP, Answer.NOT_EVALUATED)
    result = frame_result(
        captured_at=10.0, concluded_at=10.04, captured_unix=1795406400.1239, findings=(informative, unknown)
    )
    first, second, third = (text for text, _ in lines_below(result, 10.0432))
    assert first == "43 ms old when drawn, budget 50 ms   2026-11-23 04:00:00.123 UTC   tower-1"
    assert second == ""
    assert third == "inside informative: positive p=0.98   inside clean: NOT EVALUATED"


def test_every_line_is_on_the_picture_and_outside_the_frame(monkeypatch):
    written = []
    real = drawing.write

    def spy(area, text, size, ink):
        written.append(text)
        return real(area, text, size, ink)

    monkeypatch.setattr(drawing, "write", spy)
    result = frame_result(stages=(RAN, SKIPPED), notes=("replay",))
    picture = draw(GREY, result, result.captured_at)
    assert written[0] == BANNER
    assert "INCOMPLETE: outline skipped   replay" in written
    assert np.array_equal(frame_part(picture), GREY)
    amber = (picture == (255, 176, 0)).all(axis=-1)
    assert amber[:18].any(), "the standing words are above"
    assert amber[18 + ROWS :].any(), "what is lacking is below"


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 2600), st.integers(16, 2600))
def test_the_picture_s_size_is_even_bounded_and_follows_from_the_frame_s_alone(rows, columns):
    pixels = np.zeros((rows, columns, 3), np.uint8)
    plane = np.zeros((rows, columns), np.bool_)
    plane[rows // 2 :, columns // 2 :] = True
    plain = draw(pixels, frame_result(rows=rows, columns=columns), 0.0)
    full = frame_result(
        rows=rows,
        columns=columns,
        stages=(RAN, SKIPPED),
        findings=(polyp(0, 0, rows, columns), polyp(rows - 1, columns - 1, rows, columns)),
        masks=(polyp_mask(plane),),
        notes=("a note that is far too long for any picture " * 20,),
    )
    assert draw(pixels, full, 5.0).shape == plain.shape
    assert plain.shape[0] % 2 == plain.shape[1] % 2 == 0
    assert max(plain.shape[:2]) <= drawing.LARGEST + 5 * lettering.line_rows(drawing._text_size(drawing.LARGEST))
    assert plain.shape[1] >= drawing.NARROWEST


def test_large_frames_are_scaled_down_and_small_ones_up_by_whole_numbers():
    sizes = [(360, 640), (720, 1280), (1080, 1920), (2160, 3840), (48, 64), (2000, 20)]
    assert [scale_of(*size) for size in sizes] == [1, 1, 1 / 2, 1 / 3, 8, 1 / 2]


@pytest.mark.parametrize(("rows", "columns", "scale"), [(1080, 1920, 0.5), (90, 160, 3)])
def test_outlines_and_boxes_are_scaled_with_the_frame(rows, columns, scale):
    plane = np.zeros((rows, columns), np.bool_)
    plane[rows // 4 : rows // 2, columns // 4 : columns // 2] = True
    result = frame_result(rows=rows, columns=columns, masks=(polyp_mask(plane),))
    boxed = frame_result(
        rows=rows, columns=columns, findings=(polyp(rows // 4, columns // 4, rows // 2, columns // 2),)
    )
    pixels = np.full((rows, columns, 3), 100, np.uint8)
    places = []
    for each in (result, boxed):
        picture = draw(pixels, each, 0.0)
        image = frame_part(picture, int(rows * scale), int(columns * scale))
        where = np.argwhere((image == POLYP_COLOUR).all(axis=-1))
        places.append((where[:, 0].max(), *where.max(axis=0)[1:], where[:, 1].min()))
    expected = (rows * scale // 2 - 1, columns * scale // 2 - 1, columns * scale // 4)
    assert places == [expected, expected]


def test_text_that_does_not_fit_ends_with_dots_and_stays_in_its_area():
    area = np.zeros((40, 120, 3), np.uint8)
    assert lettering.write(area[:, :100], "a" * 200, 13, (255, 255, 255)) <= 100
    assert area[:, 90:100].any() and not area[:, 100:].any()
    assert lettering._cut("a" * 200, 13, 100).endswith("a...")
    assert lettering.write(area[:0], "a", 13, (255, 255, 255)) > 0, "no room at all is no error"
