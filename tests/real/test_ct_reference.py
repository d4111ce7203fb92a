"""The committed networks are the trained ones, reach the committed figures, and beat the plain method."""

from __future__ import annotations

import json

import numpy as np
import pytest

from converters.reference import document
from converters.reference.cases import Engine
from converters.reference.evaluation import measure_some
from converters.reference.figures import Chosen, figures
from converters.reference.samples import CLASSIFIER, DETECTOR, SEGMENTER, TEST
from edge_runtime.engines.card import Metric
from edge_runtime.engines.views import Region
from edge_runtime.preprocess import compile_recipe

pytestmark = pytest.mark.real

PHANTOMS = 30
FOUND = json.loads((document.HERE / document.RESULTS_FILE).read_text())


@pytest.mark.parametrize("name", [CLASSIFIER, DETECTOR, SEGMENTER])
def test_the_committed_onnx_gives_what_the_committed_weights_give(name):
    torch = pytest.importorskip("torch")
    from converters.reference import weights

    phantom = TEST.phantom(TEST.first_seed)
    engine, network = Engine(name, threads=2), weights.load(name)
    region = Region((8.0, 90.0, 90.0), (14.0, 150.0, 150.0))
    (place,) = compile_recipe(engine.card)(phantom.image, region, 0.25)
    prepared = place.inputs[0].array
    assert prepared.std() > 0.1
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
    return figures(measure_some(chosen, PHANTOMS, processes=2), chosen)


HEADLINES = [
    (CLASSIFIER, "auc"),
    (CLASSIFIER, "sensitivity"),
    (CLASSIFIER, "specificity"),
    (DETECTOR, "map_50"),
    (DETECTOR, "lesion_sensitivity"),
    (SEGMENTER, "dice_mean"),
    (SEGMENTER, "dice_after_detector"),
]


@pytest.mark.parametrize(("name", "figure"), HEADLINES)
def test_the_committed_networks_reach_the_committed_figures(measured, name, figure):
    committed = next(Metric(**m) for m in FOUND["engines"][name] if m["name"] == figure)
    found = next(m for m in measured[name] if m.name == figure)
    assert committed.low is not None and found.high is not None
    assert found.high >= committed.value  # fewer phantoms: its own interval must hold what is claimed


@pytest.mark.parametrize(("name", "figure"), [(n, f) for n, f in HEADLINES if f not in ("sensitivity", "specificity")])
def test_the_networks_beat_the_plain_method_on_the_same_phantoms(measured, name, figure):
    found = next(m for m in measured[name] if m.name == figure)
    assert found.baseline is not None
    assert found.value > found.baseline
