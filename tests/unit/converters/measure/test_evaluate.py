"""The figures of a network are those of the daemon's own answers, and a hold-out set is read once."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from onnx import helper
from support import models
from support.samples import FRAME, card_of, noise, opened, save_nifti, save_picture, write_truth

from converters.measure import metrics
from converters.measure.evaluate import Evaluator
from converters.progress import Progress
from converters.samples import Sample, TrueBox, Truth
from converters.samples.pictures import frames
from edge_runtime.engines.views import Region
from edge_runtime.errors import ConfigurationError, EngineRejected

GATE = {"holdout": {"path": "set"}}
BRAIN = frozenset({"brain"})


class Listed:
    """A set of samples in memory; counts how often it was gone through."""

    name = "the hold-out set"

    def __init__(self, samples):
        self.samples, self.passes = samples, 0

    def __len__(self):
        return len(self.samples)

    def __iter__(self):
        self.passes += 1
        return iter(self.samples)


def evaluator(card, samples, tmp_path):
    return Evaluator(card, samples, tmp_path / "scratch", Progress(lambda text: None))


def grey(level, *more):
    return frames(np.stack([np.full((8, 8), v, dtype=np.float32) for v in (level, *more)]))


def classified(levels_and_truth):
    return Listed([Sample.of(f"{k}", grey(*levels), Truth(BRAIN if there else frozenset()))
                   for k, (levels, there) in enumerate(levels_and_truth)])  # fmt: skip


def test_auc_and_sensitivity_are_those_of_the_probabilities(tmp_path):
    levels = [10, 20, 30, 40, 50, 60, 70, 80, 5, 90]
    truth = [False, False, True, False, True, True, False, True, False, True]
    samples = classified([((level,), there) for level, there in zip(levels, truth, strict=True)])
    found = evaluator(card_of(tmp_path, shape=FRAME), samples, tmp_path).evaluate(models.classifier(FRAME))
    auc, sensitivity, specificity = found.scores
    assert [score.metric for score in found.scores] == ["auc", "sensitivity", "specificity"]
    assert (found.samples, found.failed) == (10, ())
    assert auc.value == auc.worst == metrics.auc(levels, truth)
    assert auc.low < auc.value < auc.high
    assert (sensitivity.value, specificity.value) == (3 / 5, 4 / 5)  # above the card's threshold, 50 of 100; or not
    assert (sensitivity.low, sensitivity.high) == metrics.wilson(3, 5)
    assert (specificity.low, specificity.high) == metrics.wilson(4, 5)


def test_the_gate_of_the_card_chooses_metrics_and_specificity(tmp_path):
    gate = [{"metric": "sensitivity", "at_specificity": s, "tolerance": 0.1} for s in (0.5, 1.0)]
    card = card_of(tmp_path, shape=FRAME, gate=gate, **GATE)
    samples = classified([((10,), False), ((50,), False), ((40,), True), ((60,), True)])
    found = evaluator(card, samples, tmp_path).evaluate(models.classifier(FRAME))
    assert [score.value for score in found.scores] == [1.0, 0.5]
    assert [score.metric for score in found.scores][1] == "sensitivity at a specificity of 1"


def test_a_study_is_as_positive_as_its_most_positive_frame(tmp_path):
    samples = classified([((10, 80, 20), True), ((30, 30), True), ((40,), False), ((5, 5), False)])
    auc, *_ = evaluator(card_of(tmp_path, shape=FRAME), samples, tmp_path).evaluate(models.classifier(FRAME)).scores
    assert auc.value == 0.75


def test_dice_is_that_of_the_mask_on_the_source_grid(tmp_path):
    shape = (1, 1, 8, 8, 4)  # to Right, Anterior, Superior: the size of a region
    card, folder = card_of(tmp_path / "cards", "segmentation", shape), tmp_path / "set"
    image, mask = noise((16, 16, 8)), noise((16, 16, 8), 2) > 50
    save_nifti(folder / "a.nii", image.astype(np.float32))
    save_nifti(folder / "m.nii", mask.astype(np.uint8))
    regions = [{"start": [0, 0, 0], "stop": [4, 8, 8]}, {"start": [4, 8, 8], "stop": [8, 16, 16]}]
    masks = [{"label": "brain", "file": "m.nii"}]
    write_truth(folder, *({"file": "a.nii", "masks": masks, "region": region} for region in regions))
    samples = opened(card, folder, labelled=True)
    mean, worst = evaluator(card, samples, tmp_path).evaluate(models.segmenter(shape)).scores
    expected = [metrics.dice(image[part] > 50, mask[part]) for part in (np.s_[:8, :8, :4], np.s_[8:, 8:, 4:])]
    assert mean.value == pytest.approx(np.mean(expected))
    assert (worst.metric, worst.value, mean.worst) == ("dice_worst", min(expected), min(expected))


def test_dice_of_frames_is_that_of_all_of_them(tmp_path):
    card, folder = card_of(tmp_path / "cards", "segmentation"), tmp_path / "set"
    image, mask = noise((3, 8, 8)).astype(np.float32), noise((3, 8, 8), 2) > 50
    folder.mkdir()
    np.save(folder / "a.npy", image)
    np.save(folder / "m.npy", mask)
    save_picture(folder / "b.png", np.zeros((8, 8), np.uint8))
    labelled = {"file": "a.npy", "masks": [{"label": "brain", "file": "m.npy"}]}
    write_truth(folder, labelled, {"file": "b.png", "masks": []})
    found = evaluator(card, opened(card, folder, labelled=True), tmp_path).evaluate(models.segmenter(FRAME))
    assert found.scores[0].value == pytest.approx((metrics.dice(image > 50, mask) + 1) / 2)


def boxes_network(rows):
    """Always these boxes: rows of centre, size (x before y) and score."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["boxes", "nothing"], ["probability"]),
    ]
    boxes = np.array(rows, dtype=np.float32).T[None]
    return models.network(
        nodes, {"image": FRAME}, {"probability": boxes.shape}, {"zero": np.float32(0), "boxes": boxes}
    )


def test_boxes_count_down_to_scores_far_below_the_threshold(tmp_path):
    rows = [(2, 2, 4, 4, 0.9), (6, 6, 4, 4, 0.05), (2, 6, 4, 4, 0.01)]
    output = {"name": "probability", "shape": [1, 5, 3]}
    card = card_of(tmp_path, "detection", output=output, decode={"layout": "yolov8"},
                   labels=[{"name": "brain", "channel": 0, "threshold": 0.5, "concept": models.BRAIN}])  # fmt: skip
    truth = Truth(boxes=(
        TrueBox("brain", Region((0, 0, 0), (1, 4, 4))),
        TrueBox("brain", Region((0, 4, 4), (1, 8, 8))),
        TrueBox("brain", Region((0, 4, 0), (1, 8, 4))),  # found with a score below the floor: missed
    ))  # fmt: skip
    samples = Listed([Sample.of("one", grey(10), truth), Sample.of("two", grey(20), Truth(boxes=()))])
    (score,) = evaluator(card, samples, tmp_path).evaluate(boxes_network(rows)).scores
    # Both images get both boxes: hit, miss (0.9), hit, miss (0.05).
    assert score.value == pytest.approx((1 + 2 / 3) / 3)


def test_a_detector_by_masks_has_one_box_a_region_of_the_source(tmp_path):
    card = card_of(tmp_path, "detection")
    image = frames(np.zeros((2, 8, 8), np.float32))
    lit = np.zeros((2, 8, 8), np.float32)
    lit[1, 2:6, 3:7] = 80
    there = Truth(boxes=(TrueBox("brain", Region((1, 2, 3), (2, 6, 7))),))
    samples = Listed([Sample.of("one", frames(lit), there), Sample.of("two", image, Truth(boxes=()))])
    (score,) = evaluator(card, samples, tmp_path).evaluate(models.segmenter(FRAME)).scores
    assert score.value == 1


def not_a_number(shape):
    """The tiny classifier, whose answer is 0/0."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["flat"]),
        helper.make_node("Sub", ["flat", "flat"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["probability"]),
    ]
    return models.network(nodes, {"image": shape}, {"probability": (1, 1)}, {"shape": np.array([1, 1])})


def test_a_network_without_an_answer_is_wrong_and_says_so(tmp_path):
    samples = classified([((10,), False), ((50,), True)])
    found = evaluator(card_of(tmp_path), samples, tmp_path).evaluate(not_a_number(FRAME))
    assert found.failed == ("0", "1")
    assert [score.value for score in found.scores] == [0.0, 0.0, 0.0]


def test_images_are_read_once_for_any_number_of_networks(tmp_path):
    samples = classified([((10,), False), ((50,), True)])
    one = evaluator(card_of(tmp_path), samples, tmp_path)
    assert one.evaluate(models.classifier(FRAME)).scores == one.evaluate(models.classifier(FRAME)).scores
    assert samples.passes == 1


@pytest.mark.slow
def test_no_more_than_an_image_or_two_are_in_memory(tmp_path):
    alive, most = weakref.WeakSet(), []

    class Made(Listed):
        def __iter__(self):
            for k in range(6):
                image = grey(10 * k)
                alive.add(image)
                gc.collect()
                most.append(len(alive))
                yield Sample.of(f"{k}", image, Truth(BRAIN if k % 2 else frozenset()))
                del image

    evaluator(card_of(tmp_path), Made([None] * 6), tmp_path)
    assert len(most) == 6 and max(most) <= 2


@pytest.mark.parametrize(("there", "message"), [(True, "in all 2 samples"), (False, "in none of the 2 samples")])
def test_a_generated_holdout_of_one_class_is_refused(tmp_path, there, message):
    samples = classified([((10,), there), ((50,), there)])
    with pytest.raises(ConfigurationError, match=f"the hold-out set: brain is {message}"):
        evaluator(card_of(tmp_path), samples, tmp_path)


def test_a_network_of_another_card_is_refused(tmp_path):
    samples = classified([((10,), False), ((50,), True)])
    with pytest.raises(EngineRejected, match="card tiny says"):
        evaluator(card_of(tmp_path), samples, tmp_path).evaluate(models.classifier((1, 1, 9, 9)))


def test_several_labels_are_averaged_and_the_worst_is_told(tmp_path):
    labels = [{"name": name, "channel": 0, "threshold": 0.5, "concept": models.BRAIN} for name in ("brain", "inverse")]
    card = card_of(tmp_path, labels=labels)
    truths = [frozenset({"inverse"}), BRAIN, frozenset({"inverse"}), BRAIN]
    samples = Listed([Sample.of(f"{k}", grey(20 * k), Truth(truth)) for k, truth in enumerate(truths)])
    auc, *_ = evaluator(card, samples, tmp_path).evaluate(models.classifier(FRAME)).scores
    assert (auc.value, auc.worst) == (0.5, 0.25)
    assert dataclasses.is_dataclass(auc)
