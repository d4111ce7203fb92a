"""The arithmetic of the evaluation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.measure import metrics
from converters.measure.metrics import Detected

scores = st.lists(st.integers(0, 20).map(float), min_size=2, max_size=30)
shares = st.integers(0, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
boxes = st.lists(st.integers(0, 9), min_size=6, max_size=6).map(
    lambda v: np.array([*v[:3], *(a + 1 + b for a, b in zip(v[:3], v[3:], strict=True))], dtype=float)
)
masks = arrays.arrays(np.bool_, (2, 3, 4))


@given(scores, st.randoms())
def test_auc_is_the_share_of_pairs_in_the_right_order(values, random):
    truth = [True, False, *(random.random() < 0.5 for _ in values[2:])]
    pairs = [(a > b) + 0.5 * (a == b) for a, p in zip(values, truth, strict=True) if p
             for b, q in zip(values, truth, strict=True) if not q]  # fmt: skip
    assert metrics.auc(values, truth) == pytest.approx(np.mean(pairs))
    assert metrics.auc([-v for v in values], truth) == pytest.approx(1 - np.mean(pairs))


def test_auc_of_one_class_alone_is_refused():
    with pytest.raises(ValueError, match="at least one positive and one negative"):
        metrics.auc([0.1, 0.2], [True, True])


@given(shares)
def test_wilson_holds_the_share_and_stays_within_0_and_1(pair):
    hits, count = pair
    low, high = metrics.wilson(hits, count)
    assert 0 <= low <= high <= 1
    if count:
        assert low <= hits / count <= high


def test_wilson_of_a_known_case():
    low, high = metrics.wilson(9, 10)
    assert (low, high) == (pytest.approx(0.5958, abs=1e-4), pytest.approx(0.9821, abs=1e-4))


def test_bootstrap_surrounds_the_mean_and_leaves_out_what_cannot_be_computed():
    values = np.arange(50.0)
    low, high = metrics.bootstrap(lambda chosen: float(values[chosen].mean()), 50)
    assert low < values.mean() < high and high - low < 12
    assert all(math.isnan(v) for v in metrics.bootstrap(lambda _: math.nan, 5))


@given(scores, st.randoms())
def test_no_threshold_beats_the_chosen_one(values, random):
    truth = np.array([True, False, *(random.random() < 0.5 for _ in values[2:])])
    array = np.array(values)

    def index(threshold):
        return (array[truth] > threshold).mean() + (array[~truth] <= threshold).mean()

    if len(set(values)) > 1:
        best = max(index(t) for t in np.unique(array)[:-1])
        assert index(metrics.youden(values, truth)) == pytest.approx(best)


@given(boxes, boxes)
def test_iou_is_symmetric_within_0_and_1_and_1_of_the_same_box(first, second):
    assert metrics.iou(first, second) == pytest.approx(metrics.iou(second, first))
    assert 0 <= metrics.iou(first, second) <= 1
    assert metrics.iou(first, first) == pytest.approx(1)
    filled = np.zeros((2, 20, 20, 20), dtype=bool)
    for one, box in zip(filled, (first, second), strict=True):
        one[tuple(slice(int(a), int(b)) for a, b in zip(box[:3], box[3:], strict=True))] = True
    assert metrics.iou(first, second) == pytest.approx((filled[0] & filled[1]).sum() / (filled[0] | filled[1]).sum())


CUBE, FAR = (0.0, 0.0, 0.0, 2.0, 2.0, 2.0), (8.0, 8.0, 8.0, 9.0, 9.0, 9.0)


def test_a_true_box_is_found_once():
    image = Detected((CUBE, CUBE, FAR), (0.5, 0.9, 0.8), (CUBE,))
    assert metrics.matches(image, 0.5) == [0, None, None]


def test_average_precision_of_known_cases():
    first = Detected((CUBE,), (0.9,), (CUBE,))
    wrong = Detected((FAR,), (0.95,), ())
    missed = Detected((), (), (CUBE,))
    assert metrics.average_precision([first]) == 1
    assert metrics.average_precision([first, missed]) == 0.5
    assert metrics.average_precision([first, wrong]) == 0.5
    assert metrics.average_precision([first, wrong, missed]) == 0.25
    assert metrics.average_precision([missed]) == 0
    assert math.isnan(metrics.average_precision([wrong]))


flat_boxes = boxes.map(lambda box: box[[1, 2, 4, 5]])


@given(flat_boxes, flat_boxes)
def test_iou_in_a_plane_is_that_of_boxes_one_slice_deep(first, second):
    deep = [np.array([0, box[0], box[1], 1, box[2], box[3]]) for box in (first, second)]
    assert metrics.iou(first, second) == pytest.approx(metrics.iou(*deep))


@given(scores, st.randoms(), st.sampled_from((0.5, 0.8, 0.9, 0.95, 1.0)))
def test_sensitivity_is_the_best_of_all_thresholds_with_that_specificity(values, random, specificity):
    truth = [True, False, *(random.random() < 0.5 for _ in values[2:])]
    negatives = [v for v, p in zip(values, truth, strict=True) if not p]
    positives = [v for v, p in zip(values, truth, strict=True) if p]
    best = max(
        sum(v > t for v in positives)
        for t in values
        if sum(v <= t for v in negatives) >= specificity * len(negatives) - 1e-9
    )
    assert metrics.sensitivity_at(values, truth, specificity) == (best, len(positives))


def test_the_threshold_of_a_known_case():
    scores, truth = [0.1, 0.2, 0.3, 0.9, 0.25, 0.95], [False] * 4 + [True] * 2
    assert metrics.threshold_at(scores, truth, 0.75) == 0.3
    assert metrics.sensitivity_at(scores, truth, 0.75) == (1, 2)
    assert metrics.sensitivity_at(scores, truth, 0.5) == (2, 2)
    assert metrics.sensitivity_at(scores, truth, 1.0) == (1, 2)


@pytest.mark.parametrize("truth", [[True, True], [False, False]])
def test_a_sensitivity_of_one_class_alone_is_refused(truth):
    with pytest.raises(ValueError, match="needs at least one"):
        metrics.sensitivity_at([0.1, 0.2], truth, 0.95)


@st.composite
def detections(draw):
    """A few images; no two boxes have the same score."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        some, truth = draw(st.lists(boxes, max_size=4)), draw(st.lists(boxes, max_size=3))
        near = [box + np.array([0, 0, 0, 0, 0, 1.0]) for box in truth[: draw(st.integers(0, 3))]]
        found.append(([*some, *near], truth))
    order = draw(st.permutations(range(sum(len(some) for some, _ in found))))
    ranks = iter(order)
    return [Detected(tuple(map(tuple, some)), tuple(next(ranks) / 100 for _ in some), tuple(map(tuple, truth)))
            for some, truth in found]  # fmt: skip


def plain_average_precision(images):
    """Written from the definition: cut the list at every score, then the best precision at each recall or above."""
    total = sum(len(image.truth) for image in images)
    points = []
    for cut in sorted({score for image in images for score in image.scores}, reverse=True):
        hits = count = 0
        for image in images:
            taken = set()
            for score, box in sorted(zip(image.scores, image.boxes, strict=True), reverse=True):
                if score < cut:
                    continue
                count += 1
                overlaps = [(metrics.iou(np.array(box), np.array(true)), -k)
                            for k, true in enumerate(image.truth) if k not in taken]  # fmt: skip
                if overlaps and max(overlaps)[0] >= 0.5:
                    taken.add(-max(overlaps)[1])
                    hits += 1
        points.append((hits / total, hits / count))
    recalls = sorted({recall for recall, _ in points if recall})
    steps = zip(recalls, [0.0, *recalls], strict=False)
    return sum((recall - before) * max(p for r, p in points if r >= recall) for recall, before in steps)


@given(detections())
def test_average_precision_is_that_of_its_definition(images):
    if any(image.truth for image in images):
        assert metrics.average_precision(images) == pytest.approx(plain_average_precision(images))


@given(detections(), st.data())
def test_an_image_of_weight_two_counts_as_two_images(images, data):
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(images), max_size=len(images))))
    repeated = [image for image, times in zip(images, weights, strict=True) for _ in range(times)]
    found = metrics.Ranked.of(images).average_precision(weights)
    assert found == pytest.approx(metrics.average_precision(repeated), nan_ok=True)


@given(masks, masks)
def test_dice_is_that_of_its_definition(first, second):
    inside = [{tuple(k) for k in np.argwhere(mask)} for mask in (first, second)]
    count = len(inside[0]) + len(inside[1])
    assert metrics.dice(first, second) == (2 * len(inside[0] & inside[1]) / count if count else 1.0)


@given(masks, masks)
def test_dice_is_symmetric_and_1_only_of_equal_masks(first, second):
    value = metrics.dice(first, second)
    assert value == metrics.dice(second, first)
    assert 0 <= value <= 1
    assert (value == 1) == np.array_equal(first, second)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40))
def test_limits_of_agreement_lie_around_the_bias(differences):
    found = metrics.agreement(differences)
    assert found.bias == pytest.approx(np.mean(differences), abs=1e-9)
    assert found.lower <= found.bias_low + 1e-9 and found.bias_high <= found.upper + 1e-9
    assert found.upper - found.lower == pytest.approx(2 * 1.959964 * np.std(differences, ddof=1), abs=1e-6)


def test_agreement_needs_two_differences():
    with pytest.raises(ValueError, match="at least two"):
        metrics.agreement([1.0])
