"""Thresholds and figures follow from the cases, and from nothing else."""

from __future__ import annotations

import pytest

from converters.measure.metrics import Detected
from converters.reference.cases import Case, Outline, Truth
from converters.reference.figures import Chosen, by_confounder, by_lesion, choose, figures
from converters.reference.samples import CLASSIFIER, DETECTOR, SEGMENTER

BOX = (1.0, 10.0, 10.0, 4.0, 20.0, 20.0)
AWAY = (6.0, 50.0, 50.0, 8.0, 60.0, 60.0)
LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7)


def case(seed: int, positive: bool, probability: float, bright_ml: float) -> Case:
    """The networks find every haemorrhage, and outline it best at 0.6; the plain method outlines half of it."""
    truth = (Truth("subdural", 10.0 + seed, 40.0),) if positive else ()
    boxes = (BOX,) if positive else ()
    found = Detected((*boxes, AWAY), (*(0.8 for _ in boxes), 0.3), boxes)
    outlines = {level: tuple(Outline(0.9 - abs(level - 0.6), t.volume_ml + 1, 41.0) for t in truth) for level in LEVELS}
    plain = tuple(Outline(0.5, t.volume_ml / 2, 30.0) for t in truth)
    return Case(
        seed=seed,
        confounders=("metal",) if seed % 2 else (),
        truth=truth,
        probability=probability,
        found=found,
        outlines=outlines,
        pipeline_dice=0.8 if positive else None,
        bright_ml={50.0: bright_ml, 60.0: 1.0},
        bright={level: Detected((AWAY,), (1.0,), boxes) for level in (50.0, 60.0)},
        bright_outlines={50.0: plain, 60.0: plain},
        bright_dice={50.0: 0.1, 60.0: 0.4} if positive else {},
    )


CASES = [case(k, True, 0.9, 2.0 + k % 3) for k in range(10)] + [case(k, False, 0.2, 1.0 + k % 3) for k in range(10)]


def by_name(engine: str, cases: list[Case] | None = None, chosen: Chosen | None = None) -> dict:
    return {m.name: m for m in figures(cases or CASES, chosen or choose(CASES))[engine]}


def test_thresholds_are_those_that_do_best_on_the_cases():
    chosen = choose(CASES)
    assert chosen.probability == pytest.approx(0.55)
    assert 0.3 <= chosen.score < 0.8  # the boxes without a haemorrhage score 0.3
    assert chosen.outline == 0.6
    assert chosen.hu_of_presence == 50.0  # at 60 HU all largest parts are of one size
    assert chosen.hu_of_outlines == 60.0


def test_a_classifier_that_is_always_right_and_a_plain_method_that_is_not():
    found = by_name(CLASSIFIER)
    assert (found["auc"].value, found["auc"].low, found["auc"].high) == (1, 1, 1)
    assert 0.5 < found["auc"].baseline < 1
    assert found["sensitivity"].value == found["specificity"].value == 1
    assert found["sensitivity"].low == pytest.approx(0.7225, abs=1e-4)


def test_a_threshold_that_is_too_high_costs_sensitivity_alone():
    chosen = Chosen(**{**choose(CASES).__dict__, "probability": 0.95})
    found = by_name(CLASSIFIER, chosen=chosen)
    assert found["sensitivity"].value == 0 and found["specificity"].value == 1 and found["auc"].value == 1


def test_boxes_are_counted_at_the_chosen_score():
    found = by_name(DETECTOR)
    assert found["map_50"].value == 1 and found["map_50"].baseline == 0
    assert found["lesion_sensitivity"].value == 1 and found["lesion_sensitivity"].baseline == 0
    assert found["false_boxes_per_study"].value == 0 and found["false_boxes_per_study"].baseline == 1
    low = Chosen(**{**choose(CASES).__dict__, "score": 0.1})
    assert by_name(DETECTOR, chosen=low)["false_boxes_per_study"].value == 1


def test_outlines_are_compared_with_the_truth_one_by_one():
    found = by_name(SEGMENTER)
    assert found["dice_mean"].value == found["dice_worst"].value == 0.9
    assert found["dice_mean"].baseline == 0.5
    assert found["volume_bias_ml"].value == 1 and found["volume_limit_low_ml"].value == 1
    assert found["volume_bias_ml"].baseline == pytest.approx(-7.25)
    assert found["diameter_bias_mm"].value == 1 and found["diameter_bias_mm"].baseline == -10
    assert found["dice_after_detector"].value == 0.8 and found["dice_after_detector"].baseline == 0.4


def test_groups_count_what_belongs_to_them():
    chosen = choose(CASES)
    rows = {group.name: group for group in by_confounder(CASES, chosen)["specificity"]}
    assert rows["metal"].count == rows["none"].count == 5
    assert rows["metal"].network == 1
    rows = {group.name: group for group in by_lesion(CASES, chosen)["found"]}
    assert rows["subdural"].count == 10 and rows["subdural"].network == 1 and rows["subdural"].baseline == 0
    assert rows["above 10 ml"].count == 10 and rows["below 2 ml"].network is None
