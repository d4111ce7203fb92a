"""A site chooses an engine's precision stage by stage."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
from support.models import build_engine, card, segmenter

from edge_runtime.compose import compose_pipeline
from edge_runtime.config import Config, Engines, KeyFrames, Pipeline, Schedule, Spool, Stage, Video
from edge_runtime.engines.passport import FileRecord, Gate, Precision, read_passport, write_passport
from edge_runtime.engines.required import engine_marks, studies_apart, verify_all, verify_engines
from edge_runtime.errors import ConfigurationError, EngineRejected
from edge_runtime.page.engines import engine_facts
from edge_runtime.telemetry.metrics import NullMetrics

SHAPE = (1, 1, 4, 4, 4)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One model with an FP32 engine, and the same network as its INT8 engine, which passed a gate."""
    engines = tmp_path_factory.mktemp("engines")
    fp32 = build_engine(engines, card("segmentation", SHAPE), segmenter(SHAPE))
    int8 = fp32.with_name("onnxruntime-int8")
    shutil.copytree(fp32, int8)
    lower(int8, Gate("0" * 64, 20, "the engine itself"))
    return engines


def lower(folder, gate):
    """Make the folder's engine an INT8 one: other bytes, the same network."""
    passport, _ = read_passport((folder / "passport.json").read_bytes())
    data = (folder / "engine.onnx").read_bytes()
    data += b"" if data.endswith(b"\x12\x00") else b"\x12\x00"  # an empty producer_name
    (folder / "engine.onnx").write_bytes(data)
    record = FileRecord("engine.onnx", hashlib.sha256(data).hexdigest(), len(data))
    changed = dataclasses.replace(passport, precision=Precision("int8"), gate=gate, engine=record)
    (folder / "passport.json").write_bytes(write_passport(changed))


def site(engines, *precisions, **more):
    stages = tuple(Stage(f"s{n}", "tiny", precision) for n, precision in enumerate(precisions))
    settings = Engines(str(engines), backend="onnxruntime", allow_unsigned=True, **more)
    return Config(Spool("spool"), (Pipeline("head", stages),), engines=settings)


def test_two_stages_use_one_engine_in_two_precisions_and_two_share_a_runner(built):
    config = site(built, None, "int8", "fp32")
    pipeline = compose_pipeline(config.pipelines[0], config.engines, NullMetrics())
    try:
        first, second, third = pipeline.stages
        assert [stage.identity.precision for stage in pipeline.stages] == ["fp32", "int8", "fp32"]
        assert first.runner is third.runner and first.runner is not second.runner
        assert first.identity.sha256 != second.identity.sha256
        image = np.full(SHAPE, 0.25, np.float32)
        assert np.array_equal(first.runner.run(image), second.runner.run(image))
    finally:
        pipeline.close()


def test_a_result_records_a_precision_only_where_the_stage_names_one(built):
    config = site(built, None, "int8")
    pipeline = compose_pipeline(config.pipelines[0], config.engines, NullMetrics())
    pipeline.close()
    plain, chosen = json.loads(pipeline.stages_json)
    assert "precision" not in plain and chosen["precision"] == "int8"


def test_each_build_that_a_configuration_uses_has_a_mark(built):
    both = engine_marks(site(built, None, "int8", "fp32"))
    assert set(both) == {"tiny/onnxruntime-fp32", "tiny/onnxruntime-int8"}
    assert len(set(both.values())) == 2
    assert engine_marks(site(built, "int8")) != engine_marks(site(built, "fp32")) == engine_marks(site(built, None))


def test_the_page_shows_each_build_with_its_stages(built):
    facts = engine_facts(site(built, None, "int8"))
    assert [(one.name, one.precision, one.stages) for one in facts] == [
        ("tiny", "fp32", ("head/s0",)),
        ("tiny", "int8", ("head/s1",)),
    ]


def test_a_precision_that_was_not_built_is_named_with_its_command(built):
    config = site(built, "fp16")
    with pytest.raises(EngineRejected, match=r"none built for onnxruntime in fp16; run: .*--precision fp16"):
        verify_engines(config.pipelines[0], config.engines)


def test_an_engine_that_was_not_measured_needs_the_sites_consent(built, tmp_path):
    shutil.copytree(built, tmp_path / "engines")
    lower(tmp_path / "engines" / "tiny" / "onnxruntime-int8", None)
    refused, allowed = (site(tmp_path / "engines", "int8", allow_ungated=allow) for allow in (False, True))
    with pytest.raises(EngineRejected, match=r"engines.allow_ungated is false"):
        verify_engines(refused.pipelines[0], refused.engines)
    assert verify_engines(allowed.pipelines[0], allowed.engines)["s0"].passport.gate is None
    whole = site(tmp_path / "engines", "fp32")
    assert verify_engines(whole.pipelines[0], whole.engines)["s0"].identity.precision == "fp32"


def test_key_frames_ask_for_a_label_that_the_card_has(built):
    config = site(built, None)
    for label, fits in (("brain", True), ("polyp", False)):
        video = Video("tower", "head", url="clip.mp4", key_frames=KeyFrames(when=f"s0.{label}.positive"))
        watched = dataclasses.replace(config, video=(video,))
        if fits:
            verify_all(watched)
        else:
            with pytest.raises(ConfigurationError, match=r"video tower: key_frames\.when: s0 has no label 'polyp'"):
                verify_all(watched)


def test_a_run_of_a_study_that_is_too_long_beside_live_frames_puts_studies_apart(built):
    """The passport says how long a run takes; a deadline of a microsecond leaves no room for any."""
    config = site(built, None)
    studies = dataclasses.replace(config.pipelines[0], name="studies")
    for deadline, apart in ((1e-6, True), (1e3, False)):
        video = Video("tower", "head", url="clip.mp4", deadline_seconds=deadline)
        beside = dataclasses.replace(config, pipelines=(config.pipelines[0], studies), video=(video,))
        assert studies_apart(beside) is apart
        shared = dataclasses.replace(beside, schedule=Schedule(studies="shared"))
        if apart:
            with pytest.raises(ConfigurationError, match=r"schedule\.studies is shared"):
                studies_apart(shared)
        else:
            assert not studies_apart(shared)
    assert not studies_apart(config)
