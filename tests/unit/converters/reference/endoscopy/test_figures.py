"""Thresholds and figures follow from the cases, and from nothing else."""

from __future__ import annotations

import pytest

from converters.measure.metrics import Detected
from converters.reference.endoscopy import baseline
from converters.reference.endoscopy.cases import Case
from converters.reference.endoscopy.figures import Chosen, by_kind, by_size, choose, figures
from converters.reference.endoscopy.samples import DETECTOR, INFORMATIVE, SEGMENTER, SMALL_DETECTOR

BOX = (0.0, 10.0, 10.0, 1.0, 20.0, 20.0)
AWAY = (0.0, 50.0, 50.0, 1.0, 60.0, 60.0)
LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7)


def case(patient: int, informative: bool, sharpness: float) -> Case:
    """The detector finds every polyp, the small one none; outlines are best at 0.6; the plain method does half."""
    if not informative:
        return Case(patient, "blurred", False, 0.2, sharpness, 0.45)
    good, none = Detected((BOX, AWAY), (0.8, 0.3), (BOX,)), Detected((AWAY,), (0.9,), (BOX,))
    return Case(
        patient, "polyp", True, 0.9, sharpness, 0.45,
        polyp_shares=(0.01,),
        found={DETECTOR: good, SMALL_DETECTOR: none},
        outlines={level: (0.9 - abs(level - 0.6),) for level in LEVELS},
        pipeline_dice=0.8,
        blobs=dict.fromkeys(baseline.BOX_LEVELS, none),
        grown=dict.fromkeys(baseline.COLOUR_LEVELS, (0.5,)),
    )  # fmt: skip


CASES = [case(k, True, 2.0 + k % 3) for k in range(10)] + [case(k, False, 1.0 + k % 3) for k in range(10)]


def by_name(engine: str, chosen: Chosen | None = None) -> dict:
    return {m.name: m for m in figures(CASES, chosen or choose(CASES))[engine]}


def test_thresholds_are_those_that_do_best_on_the_cases():
    chosen = choose(CASES)
    assert chosen.probability == pytest.approx(0.55)
    assert 0.3 <= chosen.score < 0.8  # the boxes away from a polyp score 0.3
    assert chosen.outline == 0.6
    assert chosen.redness < 0.45


def test_a_classifier_that_is_always_right_and_a_plain_method_that_is_not():
    found = by_name(INFORMATIVE)
    assert (found["auc"].value, found["auc"].low, found["auc"].high) == (1, 1, 1)
    assert 0.5 < found["auc"].baseline < 1
    assert found["sensitivity"].value == found["specificity"].value == 1


def test_each_detector_has_figures_of_its_own():
    good, small = by_name(DETECTOR), by_name(SMALL_DETECTOR)
    assert good["map_50"].value == good["polyp_sensitivity"].value == 1 and good["map_50"].baseline == 0
    assert small["map_50"].value == small["polyp_sensitivity_50"].value == 0
    assert good["false_boxes_per_frame"].value == 0 and good["false_boxes_per_frame"].baseline == 1
    low = Chosen(**{**choose(CASES).__dict__, "score": 0.1})
    assert by_name(DETECTOR, low)["false_boxes_per_frame"].value == 1


def test_outlines_are_those_at_the_chosen_threshold():
    found = by_name(SEGMENTER)
    assert found["dice_mean"].value == found["dice_worst"].value == 0.9
    assert found["dice_mean"].baseline == 0.5
    assert found["dice_after_detector"].value == 0.8


def test_groups_count_what_belongs_to_them():
    chosen = choose(CASES)
    kinds = {group.name: group for group in by_kind(CASES, chosen)}
    assert (kinds["polyp"].count, kinds["blurred"].count) == (10, 10) and kinds["blurred"].network == 1
    sizes = {group.name: group for group in by_size(CASES, chosen)["found"]}
    assert sizes["0.5 to 2 %"].count == 10 and sizes["0.5 to 2 %"].network == 1 and sizes["0.5 to 2 %"].baseline == 0
    assert sizes["above 2 %"].network is None
