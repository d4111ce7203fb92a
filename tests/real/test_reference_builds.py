"""The reference engines come out as they were committed, with the figures of `converters/reference/builds.json`."""

import json

import pytest

from converters.reference import builds
from converters.reference.endoscopy import samples as endoscopy
from converters.reference.samples import CLASSIFIER, DETECTOR, SEGMENTER
from edge_runtime.engines.instruction_set import instruction_set

COMMITTED = json.loads(builds.RESULTS.read_text())


def test_there_are_committed_figures_of_every_build():
    assert set(COMMITTED) == {f"{n}/{t}-{p}" for n in builds.NAMES for t, p in builds.BUILDS}
    assert all(figures for engine, figures in COMMITTED.items() if not engine.endswith("fp32"))


def test_a_figure_that_differs_is_told():
    engine = f"{CLASSIFIER}/onnxruntime-int8"
    same = {engine: COMMITTED[engine]}
    assert list(builds.differences(same)) == []
    (found,) = builds.differences({engine: {**COMMITTED[engine], "auc": 0.5}})
    assert (found.engine, found.metric, found.found) == (engine, "auc", 0.5)


@pytest.mark.parametrize(
    ("name", "target", "precision"),
    [
        pytest.param(CLASSIFIER, "onnxruntime", "int8", marks=pytest.mark.full),
        pytest.param(DETECTOR, "tensorrt-rtx", "int8", marks=pytest.mark.full),
        pytest.param(SEGMENTER, "tensorrt-rtx", "fp16", marks=pytest.mark.full),
        (endoscopy.DETECTOR, "onnxruntime", "int8"),
        pytest.param(endoscopy.SEGMENTER, "tensorrt-rtx", "int8", marks=pytest.mark.full),
    ],
)
def test_an_engine_built_again_has_the_committed_figures(tmp_path, name, target, precision):
    if target == "onnxruntime" and instruction_set() != "avx512_vnni":
        pytest.skip("the committed figures of INT8 on the processor are those of AVX-512 VNNI")
    engine, figures = builds.build_one(name, target, precision, tmp_path)
    assert figures == pytest.approx(COMMITTED[engine], abs=0.01)
