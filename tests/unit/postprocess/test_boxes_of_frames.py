"""Boxes of frames, in the published layouts of YOLOv5 and YOLOv8, become regions of (slice, row, column)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models import BRAIN, card, segmenter, write_card

from edge_runtime.engines.card import read_card
from edge_runtime.engines.views import Placement, Region
from edge_runtime.errors import ConfigurationError, InferenceFailed
from edge_runtime.postprocess import compile_decoder

SHAPE = (1, 1, 16, 32)
PLACE = Placement((16, 32), (0, 1), (False, False), (0, 0), (16, 32), frame=3)
SHAPES = {"yolov5": lambda boxes: [1, boxes, 7], "yolov8": lambda boxes: [1, 6, boxes]}


def read(tmp_path, layout, boxes, **changes):
    document = card("detection", SHAPE, output={"name": "probability", "shape": SHAPES[layout](boxes)})
    labels = [{"name": name, "channel": k, "threshold": 0.5, "concept": BRAIN} for k, name in enumerate("ab")]
    document |= {"labels": labels, "decode": {"layout": layout, "maximum_regions": 99, **changes.pop("decode", {})}}
    return read_card(write_card(tmp_path, document | changes, segmenter(SHAPE)))[0]


def v5(*boxes):
    """One row a box: x, y, width, height, objectness, two scores."""
    return np.array(boxes, dtype=np.float32)[None]


def v8(*boxes):
    """The same boxes in the layout of YOLOv8: each score times the objectness."""
    rows = np.array(boxes, dtype=np.float32)
    return np.concatenate([rows[:, :4], rows[:, 5:] * rows[:, 4:5]], axis=1).T[None]


@pytest.mark.parametrize(("layout", "output"), [("yolov5", v5), ("yolov8", v8)])
def test_x_is_the_column_and_y_the_row(tmp_path, layout, output):
    decode = compile_decoder(read(tmp_path, layout, 1))
    of_a, of_b = decode([(output((20, 5, 8, 2, 1.0, 0.9, 0.1)), None)], PLACE, None)
    assert of_a.regions == (Region((3.0, 4.0, 16.0), (4.0, 6.0, 24.0)),) and of_a.scores == pytest.approx((0.9,))
    assert of_b.regions == () and of_b.probability == pytest.approx(0.1)


def test_a_score_counts_times_the_objectness(tmp_path):
    decode = compile_decoder(read(tmp_path, "yolov5", 2))
    boxes = v5((8, 8, 4, 4, 0.5, 0.9, 0.0), (24, 8, 4, 4, 0.8, 0.9, 0.0))
    of_a, _ = decode([(boxes, None)], PLACE, None)
    assert of_a.scores == pytest.approx((0.72,)) and of_a.regions[0].start == (3.0, 6.0, 22.0)


def test_logits_of_objectness_and_score_both_pass_the_sigmoid(tmp_path):
    decode = compile_decoder(read(tmp_path, "yolov5", 1, decode={"activation": "sigmoid"}))
    of_a, _ = decode([(v5((8, 8, 4, 4, 2.0, 1.0, -9.0)), None)], PLACE, None)
    assert of_a.scores == pytest.approx((0.8808 * 0.7311,), abs=1e-4)


def test_an_objectness_that_is_no_probability_is_refused(tmp_path):
    decode = compile_decoder(read(tmp_path, "yolov5", 1))
    with pytest.raises(InferenceFailed, match=r"scores of objectness are no probabilities"):
        decode([(v5((8, 8, 4, 4, 2.0, 0.2, 0.2)), None)], PLACE, None)


BOX = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 12)] * 2, *[st.floats(0, 1, width=32)] * 3)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Decoders of ten boxes in either layout."""
    cards = [read(tmp_path_factory.mktemp(layout), layout, 10) for layout in ("yolov5", "yolov8")]
    return [compile_decoder(one) for one in cards]


@given(boxes=st.lists(BOX, min_size=10, max_size=10))
def test_both_layouts_of_the_same_boxes_give_the_same_answers(both, boxes):
    of_v5, of_v8 = (decode([(output(*boxes), None)], PLACE, 0.3) for decode, output in zip(both, (v5, v8), strict=True))
    for one, other in zip(of_v5, of_v8, strict=True):
        assert (one.probability, one.regions, one.scores) == (other.probability, other.regions, other.scores)


@pytest.mark.parametrize(
    ("layout", "changes", "message"),
    [
        ("yolov5", {"output": {"name": "p", "shape": [1, 7]}}, r"of this layout is \(1, boxes, 5 \+ channels\)"),
        ("yolov5", {"output": {"name": "p", "shape": [1, 4, 6]}}, r"labels\[1\]\.channel: the output has 1 channels"),
        ("yolov8", {"output": {"name": "p", "shape": [1, 5, 4]}}, r"labels\[1\]\.channel: the output has 1 channels"),
        ("yolov5", {"task": "classification"}, "yolov5 is for detections"),
        ("yolov5", {"decode": {"activation": "softmax"}}, "of this layout is none or sigmoid"),
    ],
)
def test_a_card_that_does_not_fit_its_layout_is_refused(tmp_path, layout, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        read(tmp_path, layout, 4, **changes)


def test_yolov5_is_for_frames(tmp_path):
    document = card("detection", (1, 1, 8, 8, 8), output={"name": "p", "shape": [1, 4, 7]})
    with pytest.raises(ConfigurationError, match="yolov5 is for frames"):
        read_card(write_card(tmp_path, document | {"decode": {"layout": "yolov5"}}))
