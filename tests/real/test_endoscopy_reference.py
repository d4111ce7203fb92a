"""The committed networks for endoscopy are the trained ones, reach their figures, and beat the plain methods."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from converters.measure.evaluate import Evaluator
from converters.progress import Progress
from converters.reference.cases import Engine
from converters.reference.endoscopy import document
from converters.reference.endoscopy.evaluation import measure_some
from converters.reference.endoscopy.figures import Chosen, figures
from converters.reference.endoscopy.samples import (
    DETECTOR,
    INFORMATIVE,
    MARGIN,
    NAMES,
    SEGMENTER,
    SMALL_DETECTOR,
    TEST,
    as_image,
    frames_of,
    region_of,
)
from converters.reference.samples import ENGINES, card_of
from converters.samples import open_samples
from edge_runtime.engines.card import Metric
from edge_runtime.preprocess import compile_recipe

pytestmark = pytest.mark.real

PATIENTS, SAMPLES = 20, 60
FOUND = json.loads((document.HERE / document.RESULTS_FILE).read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_onnx_gives_what_the_committed_weights_give(name):
    torch = pytest.importorskip("torch")
    from converters.reference.endoscopy import weights

    frame = next(frame for frame in frames_of(TEST.first_seed) if frame.polyps)
    engine, network = Engine(name, threads=2), weights.load(name)
    (place,) = compile_recipe(engine.card)(as_image(frame.pixels), region_of(frame.polyps[0].box), MARGIN)
    prepared = place.inputs[0].array
    assert prepared.std() > 0.02
    with torch.no_grad():
        expected = network(torch.from_numpy(prepared)).numpy()
    found = engine.run(prepared)
    engine.close()
    assert expected.std() > 0 or expected.size == 1
    assert np.abs(found - expected).max() < engine.card.tolerance


@pytest.fixture(scope="module")
def measured() -> dict[str, list[Metric]]:
    """The figures of the first test phantoms, at the committed thresholds."""
    chosen = Chosen(**FOUND["thresholds"])
    return figures(measure_some(chosen, PATIENTS, processes=2), chosen)


HEADLINES = [
    (INFORMATIVE, "auc"),
    (INFORMATIVE, "sensitivity"),
    (INFORMATIVE, "specificity"),
    (DETECTOR, "map_50"),
    (DETECTOR, "polyp_sensitivity"),
    (SMALL_DETECTOR, "map_50"),
    (SMALL_DETECTOR, "polyp_sensitivity"),
    (SEGMENTER, "dice_mean"),
    (SEGMENTER, "dice_after_detector"),
]


@pytest.mark.parametrize(("name", "figure"), HEADLINES)
def test_the_committed_networks_reach_the_committed_figures(measured, name, figure):
    committed = next(Metric(**m) for m in FOUND["engines"][name] if m["name"] == figure)
    found = next(m for m in measured[name] if m.name == figure)
    assert committed.low is not None and found.high is not None
    assert found.high >= committed.value  # fewer phantoms: its own interval must hold what is claimed


@pytest.mark.parametrize(
    ("name", "figure"),
    [(INFORMATIVE, "auc"), (DETECTOR, "map_50"), (SMALL_DETECTOR, "map_50"), (SEGMENTER, "dice_mean")],
)
def test_the_networks_beat_the_plain_methods_on_the_same_phantoms(measured, name, figure):
    found = next(m for m in measured[name] if m.name == figure)
    assert found.baseline is not None
    assert found.value > found.baseline


@pytest.mark.parametrize("name", NAMES)
def test_the_networks_reach_the_figures_of_their_cards_on_the_holdout(tmp_path, name):
    card = card_of(name)
    assert card.holdout is not None and card.evaluation is not None
    holdout = open_samples(card, dataclasses.replace(card.holdout, count=SAMPLES), ENGINES / name, labelled=True)
    network = (ENGINES / name / str(card.checkpoint.path)).read_bytes()
    found = Evaluator(card, holdout, tmp_path, Progress(lambda text: None)).evaluate(network)
    assert found.samples == SAMPLES and not found.failed
    score, claimed = found.scores[0], next(m for m in card.evaluation.metrics if m.name == card.gate[0].metric)
    assert score.metric == claimed.name
    assert score.high >= claimed.value - 0.03  # of fewer frames, in other proportions
