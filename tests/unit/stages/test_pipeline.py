"""A pipeline never turns a missing answer into a negative."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from support.models import SOURCE, build_engine, card, classifier, segmenter, volume

from edge_runtime import config
from edge_runtime.compose import compose_pipeline
from edge_runtime.domain import Answer, Frames, StageOutcome
from edge_runtime.engines.views import LabelAnswer, Region
from edge_runtime.errors import (
    BackendUnavailable,
    ConfigurationError,
    EngineError,
    EngineRejected,
    FrameDropped,
    InferenceFailed,
)
from edge_runtime.stages.stage import OneByOne
from edge_runtime.telemetry.metrics import NullMetrics

RAN, NOT_NEEDED, SKIPPED = StageOutcome.RAN, StageOutcome.NOT_NEEDED, StageOutcome.SKIPPED
NOT_EVALUATED, FAILED = StageOutcome.NOT_EVALUATED, StageOutcome.FAILED
SHAPE, FRAME = (1, 1, 8, 8, 8), (1, 1, 8, 8)


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    """Engines by task: classify, slices (a classifier of frames), detect, each (one region a component), segment."""
    folder = tmp_path_factory.mktemp("engines")
    build_engine(folder, card("classification", SHAPE, name="classify"), classifier(SHAPE))
    build_engine(folder, card("classification", FRAME, name="slices"), classifier(FRAME))
    build_engine(folder, card("detection", SHAPE, name="detect"), segmenter(SHAPE))
    build_engine(folder, card("detection", SHAPE, name="each", decode={"keep": "each"}), segmenter(SHAPE))
    build_engine(folder, card("segmentation", SHAPE, name="segment"), segmenter(SHAPE))
    windows = [{"orient": "RAS"}, {"crop": "region"}, {"resample": {"spacing_mm": [1.0, 1.0, 1.0]}},
               {"window": {"range": [0.0, 100.0]}}, {"tile": {"shape": list(SHAPE[2:])}}]  # fmt: skip
    lesions = card("segmentation", SHAPE, name="lesions", preprocess=windows)
    lesions["decode"] = {"keep": "each", "minimum_ml": 0.002, "maximum_regions": 3}
    build_engine(folder, lesions, segmenter(SHAPE))
    expect = {"what": "brain", "range": [50.0, 150.0], "volume_ml": [0.1, 10.0]}
    build_engine(folder, card("classification", SHAPE, name="knows", expect=expect), classifier(SHAPE))
    return config.Engines(path=str(folder), allow_unsigned=True, threads=1)


@pytest.fixture
def compose(engines):
    """Make a pipeline of stages; closed at the end."""
    made = []

    def make(*stages, metrics=None, **changes):
        described = config.Pipeline("p", tuple(stages))
        made.append(compose_pipeline(described, dataclasses.replace(engines, **changes), metrics or NullMetrics()))
        return made[-1]

    yield make
    for pipeline in made:
        pipeline.close()


def stage(name, engine, **keys):
    return config.Stage(name, engine, **keys)


def block(*boxes, spacing=(1.0, 1.0, 1.0)):
    """An 8 x 8 x 8 volume of zeros with boxes of 100."""
    voxels = np.zeros((8, 8, 8))
    for box in boxes:
        voxels[box] = 100
    return volume(voxels, spacing)


LOW, HIGH = np.s_[0:2, 0:2, 0:2], np.s_[5:8, 5:8, 5:8]
FULL, EMPTY = block(np.s_[:]), block()


def outcomes(analysis):
    return [record.outcome for record in analysis.stages]


def break_stage(pipeline, name, error):
    """Let the network of a stage fail."""

    class Broken(OneByOne):
        engine_seconds = 0.0

        def run(self, prepared):
            raise error

        def close(self):
            pass

    pipeline.stages = tuple(dataclasses.replace(s, runner=Broken()) if s.name == name else s for s in pipeline.stages)


@pytest.mark.parametrize(("image", "answer", "probability"), [(FULL, Answer.POSITIVE, 1), (EMPTY, Answer.NEGATIVE, 0)])
def test_a_classification_gives_its_answer_either_way(compose, image, answer, probability):
    analysis = compose(stage("triage", "classify")).run(image)
    (finding,) = analysis.findings
    assert (finding.answer, finding.probability, finding.threshold) == (answer, pytest.approx(probability), 0.5)
    assert analysis.complete


def test_a_classifier_of_slices_answers_for_the_worst_slice(compose):
    pipeline = compose(stage("triage", "slices"))
    assert pipeline.input_kind == "frames"
    assert pipeline.run(block(np.s_[3])).findings[0].probability == pytest.approx(1)
    frames = Frames(np.full((2, 8, 8), 30, np.float32), "US", (SOURCE, SOURCE))
    assert pipeline.run(frames).findings[0].probability == pytest.approx(0.3)


@pytest.mark.parametrize(("wanted", "image", "outcome"), [
    ("positive", FULL, RAN), ("positive", EMPTY, NOT_NEEDED), ("negative", FULL, NOT_NEEDED), ("negative", EMPTY, RAN),
])  # fmt: skip
def test_when_runs_a_stage_for_the_answer_that_it_names(compose, wanted, image, outcome):
    pipeline = compose(stage("triage", "classify"), stage("volume", "segment", when=f"triage.brain.{wanted}"))
    analysis = pipeline.run(image)
    assert outcomes(analysis) == [RAN, outcome]
    assert analysis.complete
    assert {f.stage for f in analysis.findings} == ({"triage", "volume"} if outcome is RAN else {"triage"})


@pytest.mark.parametrize("error", [InferenceFailed("broken"), ValueError("with details"), MemoryError()])
def test_what_depends_on_a_failed_stage_is_not_evaluated_and_the_result_incomplete(compose, error):
    pipeline = compose(
        stage("triage", "classify"),
        stage("boxes", "detect", when="triage.brain.negative"),
        stage("volume", "segment", within="boxes"),
        stage("other", "classify"),
    )
    break_stage(pipeline, "triage", error)
    analysis = pipeline.run(FULL)
    assert outcomes(analysis) == [FAILED, NOT_EVALUATED, NOT_EVALUATED, RAN]
    assert not analysis.complete
    assert {f.stage: f.answer for f in analysis.findings} == {
        "triage": Answer.NOT_EVALUATED,
        "boxes": Answer.NOT_EVALUATED,
        "volume": Answer.NOT_EVALUATED,
        "other": Answer.POSITIVE,
    }
    assert "details" not in analysis.stages[0].reason


def test_a_network_that_gives_nan_fails_and_is_no_negative(compose):
    pipeline = compose(stage("volume", "segment"))

    class Nan(OneByOne):
        engine_seconds = 0.0

        def run(self, prepared):
            return np.full((1, 2, 8, 8, 8), np.nan, np.float32)

        def close(self):
            pass

    pipeline.stages = (dataclasses.replace(pipeline.stages[0], runner=Nan()),)
    analysis = pipeline.run(FULL)
    assert outcomes(analysis) == [FAILED] and analysis.findings[0].answer is Answer.NOT_EVALUATED


def test_a_lost_engine_ends_the_run(compose):
    pipeline = compose(stage("volume", "segment"))
    break_stage(pipeline, "volume", EngineError("the device is lost"))
    with pytest.raises(EngineError, match="lost"):
        pipeline.run(FULL)


def test_a_stage_within_no_region_is_not_needed(compose):
    pipeline = compose(stage("boxes", "detect"), stage("volume", "segment", within="boxes"))
    analysis = pipeline.run(EMPTY)
    assert outcomes(analysis) == [RAN, NOT_NEEDED]
    assert analysis.complete and analysis.masks == ()
    assert [(f.stage, f.answer) for f in analysis.findings] == [("boxes", Answer.NEGATIVE)]
    assert analysis.stages[1].reason == "boxes found no region"


def test_a_stage_within_one_region_gives_its_mask_on_the_sources_grid(compose):
    pipeline = compose(stage("boxes", "detect"), stage("volume", "segment", within="boxes", margin=0.5))
    image = block(HIGH, spacing=(2.0, 3.0, 4.0))
    analysis = pipeline.run(image)
    box, found = analysis.findings
    assert (box.box.start, box.box.stop) == ((5, 5, 5), (8, 8, 8))
    assert (analysis.masks[0].voxels == (image.voxels > 50)).all()
    assert found.mask_number == analysis.masks[0].number == 1
    assert found.measurements[0].value == pytest.approx(27 * 24 / 1000)
    assert (found.measurements[0].unit.value, found.measurements[0].concept.value) == ("ml", "118565006")
    assert analysis.stages[1].regions == 1


def test_a_stage_within_many_regions_gives_a_finding_each_and_one_mask(compose):
    pipeline = compose(stage("boxes", "each"), stage("volume", "segment", within="boxes", margin=0.0))
    image = block(LOW, HIGH)
    analysis = pipeline.run(image)
    found = [f for f in analysis.findings if f.stage == "volume"]
    assert [round(f.measurements[0].value * 1000) for f in found] == [27, 8]
    assert [f.box.start for f in found] == [(5, 5, 5), (0, 0, 0)]
    assert len(analysis.masks) == 1 and (analysis.masks[0].voxels == (image.voxels > 50)).all()
    assert analysis.stages[1].regions == 2


def test_masks_of_several_stages_are_numbered_from_1(compose):
    analysis = compose(stage("a", "segment"), stage("b", "segment")).run(FULL)
    assert [(m.number, m.stage) for m in analysis.masks] == [(1, "a"), (2, "b")]
    assert [f.mask_number for f in analysis.findings] == [1, 2]


def test_an_empty_segmentation_is_a_negative_with_volume_0_and_no_mask(compose):
    analysis = compose(stage("volume", "segment")).run(EMPTY)
    (finding,) = analysis.findings
    assert (finding.answer, finding.measurements[0].value, finding.mask_number) == (Answer.NEGATIVE, 0, None)
    assert analysis.complete and analysis.masks == ()


@pytest.mark.parametrize(("boxes", "outcome"), [((LOW,), FAILED), ((HIGH,), RAN), ((), RAN), ((np.s_[:],), FAILED)])
def test_a_volume_that_the_card_holds_for_impossible_is_no_answer(compose, boxes, outcome):
    pipeline = compose(stage("volume", "segment"))
    (segment,) = pipeline.stages
    label = dataclasses.replace(segment.card.labels[0], plausible_ml=(0.02, 0.1))
    pipeline.stages = (dataclasses.replace(segment, card=dataclasses.replace(segment.card, labels=(label,))),)
    analysis = pipeline.run(block(*boxes))
    assert outcomes(analysis) == [outcome]
    assert analysis.complete is (outcome is RAN)


def test_what_follows_a_stage_that_was_not_needed_is_not_needed(compose):
    pipeline = compose(
        stage("triage", "classify"),
        stage("boxes", "detect", when="triage.brain.positive"),
        stage("volume", "segment", within="boxes"),
        stage("rest", "segment", when="boxes.brain.negative"),
    )
    analysis = pipeline.run(EMPTY)
    assert outcomes(analysis) == [RAN, NOT_NEEDED, NOT_NEEDED, NOT_NEEDED] and analysis.complete


def test_a_condition_that_says_no_outweighs_a_region_that_is_missing(compose):
    pipeline = compose(
        stage("triage", "classify"),
        stage("boxes", "detect"),
        stage("volume", "segment", within="boxes", when="triage.brain.positive"),
    )
    break_stage(pipeline, "boxes", InferenceFailed("broken"))
    assert outcomes(pipeline.run(EMPTY)) == [RAN, FAILED, NOT_NEEDED]
    assert outcomes(pipeline.run(FULL)) == [RAN, FAILED, NOT_EVALUATED]


@pytest.mark.parametrize(("left", "optional", "outcome"), [
    (-1.0, True, SKIPPED), (-1.0, False, RAN), (1e6, True, RAN), (None, True, RAN),
])  # fmt: skip
def test_only_an_optional_stage_that_would_miss_the_deadline_is_skipped(compose, left, optional, outcome):
    pipeline = compose(stage("triage", "classify"), stage("volume", "segment", optional=optional))
    analysis = pipeline.run(FULL, seconds_left=left)
    assert outcomes(analysis) == [RAN, outcome]
    assert analysis.complete is (outcome is RAN)
    assert (Answer.NOT_EVALUATED in {f.answer for f in analysis.findings}) is (outcome is SKIPPED)


def test_what_a_stage_took_lately_decides_whether_it_is_skipped(compose):
    pipeline = compose(stage("volume", "segment", optional=True))
    now = iter(range(0, 10_000, 7))
    pipeline._clock = lambda: next(now)
    assert outcomes(pipeline.run(FULL)) == [RAN]
    analysis = pipeline.run(FULL, seconds_left=13.9)
    assert outcomes(analysis) == [SKIPPED] and "needs about 7 s" in analysis.stages[0].reason
    assert outcomes(pipeline.run(FULL, seconds_left=14.1)) == [RAN]


def test_a_threshold_of_the_configuration_counts_and_is_noted(compose):
    pipeline = compose(stage("triage", "classify", threshold=0.9))
    analysis = pipeline.run(volume(np.full((8, 8, 8), 70)))
    assert (analysis.findings[0].answer, analysis.findings[0].threshold) == (Answer.NEGATIVE, 0.9)
    assert len(pipeline.notes) == 1 and "0.9" in pipeline.notes[0] and "0.5" in pipeline.notes[0]
    assert compose(stage("triage", "classify", threshold=0.5)).notes == ()


def test_the_trace_sees_every_tensor(compose):
    seen = {}
    pipeline = compose(stage("boxes", "each"), stage("volume", "segment", within="boxes"))
    pipeline.run(block(LOW, HIGH), trace=lambda name, tensor: seen.update({name: tensor.shape}))
    assert seen == {
        "boxes-1-input": SHAPE,
        "boxes-1-output": (1, 2, 8, 8, 8),
        "volume-1-input": SHAPE,
        "volume-1-output": (1, 2, 8, 8, 8),
        "volume-2-input": SHAPE,
        "volume-2-output": (1, 2, 8, 8, 8),
        "volume-mask-1": (8, 8, 8),
    }


def test_two_images_one_after_the_other_share_nothing(compose):
    pipeline = compose(stage("volume", "segment"))
    first = pipeline.run(block(HIGH))
    kept = first.masks[0].voxels.copy()
    second = pipeline.run(block(LOW))
    assert (first.masks[0].voxels == kept).all()
    assert not (second.masks[0].voxels & kept).any()


def test_warm_passes_for_engines_as_built_and_rejects_one_that_answers_otherwise(compose):
    pipeline = compose(stage("volume", "segment"))
    pipeline.warm()
    golden = pipeline.stages[0].golden
    for spoilt in (golden.output_samples + np.float32(0.01), golden.output_samples * np.float32(np.nan)):
        other = dataclasses.replace(golden, output_samples=spoilt)
        pipeline.stages = (dataclasses.replace(pipeline.stages[0], golden=other),)
        with pytest.raises(EngineRejected, match="engine segment: its golden output"):
            pipeline.warm()
    break_stage(pipeline, "volume", InferenceFailed("broken"))
    with pytest.raises(EngineRejected, match="its golden input fails"):
        pipeline.warm()


def test_the_identity_names_stages_cards_and_engines(compose):
    pipeline = compose(stage("volume", "segment", margin=0.2))
    (document,) = json.loads(pipeline.stages_json)
    assert (document["name"], document["margin"], len(document["card_sha256"])) == ("volume", 0.2, 64)
    (engine,) = pipeline.engines
    assert engine.name == "segment" and engine.backend.startswith("onnxruntime ")
    assert json.dumps(json.loads(pipeline.stages_json), sort_keys=True, separators=(",", ":")) == pipeline.stages_json


def test_the_time_of_the_network_is_observed_by_stage(compose):
    seen = []

    class Metrics(NullMetrics):
        def observe(self, name, value, **labels):
            seen.append((name, value > 0, labels))

    compose(stage("volume", "segment"), metrics=Metrics()).run(FULL)
    assert seen == [("edge_engine_seconds", True, {"pipeline": "p", "stage": "volume"})]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([stage("a", "classify"), stage("b", "segment", when="a.blood.positive")], "no label 'blood'.*has: brain"),
        ([stage("a", "classify"), stage("b", "segment", within="a")], "finds no regions"),
        ([stage("a", "absent")], "engine absent: .*is missing"),
    ],
)
def test_a_stage_that_asks_for_what_is_not_there_is_a_configuration_error(compose, stages, message):
    with pytest.raises(ConfigurationError, match=message):
        compose(*stages)


def test_a_backend_that_is_not_there_is_said_before_any_engine_is_read(compose):
    with pytest.raises(BackendUnavailable, match=r"engines\.backend is tensorrt: libcuda"):
        compose(stage("a", "classify"), backend="tensorrt")


def test_an_engine_that_was_altered_is_not_loaded(compose, engines, tmp_path):
    import shutil

    shutil.copytree(engines.path, tmp_path / "engines")
    file = Path(tmp_path / "engines" / "segment" / "onnxruntime-fp32" / "engine.onnx")
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    with pytest.raises(EngineRejected, match="SHA-256"):
        compose(stage("a", "segment"), path=str(tmp_path / "engines"))


def test_an_image_of_something_else_is_not_evaluated_rather_than_negative(compose):
    pipeline = compose(stage("triage", "knows"), stage("volume", "segment", when="triage.brain.positive"))
    analysis = pipeline.run(EMPTY)
    assert outcomes(analysis) == [FAILED, NOT_EVALUATED] and not analysis.complete
    assert "does not look like brain" in analysis.stages[0].reason
    assert {f.answer for f in analysis.findings} == {Answer.NOT_EVALUATED}
    assert pipeline.run(FULL).complete


BIG = np.s_[0:4, 0:4, 0:4]


def test_each_lesion_has_its_own_segment_volume_and_diameter_the_largest_first(compose):
    analysis = compose(stage("volume", "lesions")).run(block(HIGH, BIG, spacing=(2.0, 1.0, 1.0)))
    assert [m.label for m in analysis.masks] == ["brain 1", "brain 2"]
    assert [np.count_nonzero(m.voxels) for m in analysis.masks] == [64, 27]
    measured = [{m.concept.meaning: m.value for m in f.measurements} for f in analysis.findings]
    assert [m["Volume"] for m in measured] == pytest.approx([0.128, 0.054])
    assert [m["Maximum 3D Diameter of a Mesh"] for m in measured] == pytest.approx([9.06, 6.71], abs=0.3)
    assert [(f.mask_number, f.box.start) for f in analysis.findings] == [(1, (0, 0, 0)), (2, (5, 5, 5))]
    assert {f.answer for f in analysis.findings} == {Answer.POSITIVE}


def test_a_lesion_that_lies_in_two_regions_is_one_lesion(compose):
    wide = volume(np.zeros((8, 8, 20)))
    wide.voxels.setflags(write=True)
    wide.voxels[3:5, 3:5, 2:18] = 100
    wide.voxels[3:5, 3, 9:11] = 0  # two boxes, one on each side of a waist that the segmenter does not see as a gap
    pipeline = compose(stage("boxes", "each"), stage("volume", "lesions", within="boxes", margin=0.0))
    analysis = pipeline.run(wide)
    assert len(analysis.masks) == 1 and len([f for f in analysis.findings if f.stage == "volume"]) == 1
    assert np.count_nonzero(analysis.masks[0].voxels) == np.count_nonzero(wide.voxels)


def test_a_region_without_any_lesion_voxel_is_said_to_be_without(compose):
    pipeline = compose(stage("boxes", "detect", threshold=0.1), stage("volume", "lesions", within="boxes"))
    faint = block()
    faint.voxels.setflags(write=True)
    faint.voxels[HIGH] = 30  # seen by the detector at its threshold, not by the segmenter at its own
    analysis = pipeline.run(faint)
    (finding,) = [f for f in analysis.findings if f.stage == "volume"]
    assert finding.answer is Answer.NEGATIVE and not analysis.masks and analysis.complete


def test_specks_below_the_card_s_minimum_are_no_lesions(compose):
    (finding,) = compose(stage("volume", "lesions")).run(block(np.s_[0, 0, 0])).findings
    assert finding.answer is Answer.NEGATIVE


def test_more_lesions_than_the_card_holds_plausible_are_no_answer(compose):
    corners = [np.s_[a : a + 2, b : b + 2, 0:2] for a in (0, 5) for b in (0, 5)]
    analysis = compose(stage("volume", "lesions")).run(block(*corners))
    assert outcomes(analysis) == [FAILED] and "4 lesions of brain, more than the 3" in analysis.stages[0].reason


def test_a_region_larger_than_the_network_s_input_is_seen_whole_in_windows(compose):
    voxels = np.zeros((8, 40, 40))
    voxels[2:6, 4:36, 4:36] = 100
    pipeline = compose(stage("volume", "lesions"))
    analysis = pipeline.run(volume(voxels))
    assert np.array_equal(analysis.masks[0].voxels, voxels > 0)


def counting(pipeline, name):
    """Count how often each stage's image is checked or prepared."""
    counts = dict.fromkeys((stage.name for stage in pipeline.stages), 0)

    def counted(stage):
        original = getattr(stage, name)

        def call(*arguments):
            counts[stage.name] += 1
            return original(*arguments)

        return dataclasses.replace(stage, **{name: call})

    pipeline.stages = tuple(counted(stage) for stage in pipeline.stages)
    return counts


def test_stages_of_one_recipe_and_one_expectation_ask_the_image_once_and_the_next_image_anew(compose):
    pipeline = compose(stage("first", "knows"), stage("again", "knows"), stage("boxes", "detect"))
    prepared, checked = counting(pipeline, "prepare"), counting(pipeline, "check")
    first = pipeline.run(FULL)
    assert (prepared, checked) == ({"first": 1, "again": 0, "boxes": 0}, {"first": 1, "again": 0, "boxes": 0})
    assert [f.probability for f in first.findings[:2]] == [pytest.approx(1)] * 2
    assert outcomes(pipeline.run(EMPTY))[:2] == [FAILED, FAILED]
    assert checked == {"first": 2, "again": 1, "boxes": 0}


def test_frames_are_prepared_by_each_stage_one_at_a_time(compose):
    pipeline = compose(stage("first", "slices"), stage("again", "slices"))
    prepared = counting(pipeline, "prepare")
    pipeline.run(FULL)
    assert prepared == {"first": 1, "again": 1}


def test_a_region_with_nothing_but_a_speck_is_said_to_be_without_beside_one_with_a_lesion(compose):
    voxels = np.zeros((8, 8, 40))
    voxels[2:6, 2:6, 2:6] = 100
    voxels[4, 4, 36] = 100
    pipeline = compose(stage("boxes", "each"), stage("volume", "lesions", within="boxes", margin=0.0))
    pipeline.stages = (
        dataclasses.replace(pipeline.stages[0], decode=lambda *_: (LabelAnswer("brain", regions=REGIONS),)),
        pipeline.stages[1],
    )
    answers = [f.answer for f in pipeline.run(volume(voxels)).findings if f.stage == "volume"]
    assert answers == [Answer.POSITIVE, Answer.NEGATIVE]


REGIONS = (Region((2.0, 2.0, 2.0), (6.0, 6.0, 6.0)), Region((4.0, 4.0, 36.0), (5.0, 5.0, 37.0)))


def known(pipeline, stage, seconds, variant=0):
    """Let the estimates know what a stage takes."""
    for _ in range(20):
        pipeline.estimates.observe(stage, variant, 1, seconds)


def test_a_live_frame_is_given_up_before_a_stage_that_must_run_and_would_be_late(compose):
    pipeline = compose(stage("triage", "classify"), stage("volume", "segment"))
    known(pipeline, "triage", 0.001)
    known(pipeline, "volume", 5.0)
    with pytest.raises(FrameDropped, match="stage triage: it needs about") as dropped:
        pipeline.run(FULL, seconds_left=2.0, droppable=True)
    assert dropped.value.records == ()
    assert outcomes(pipeline.run(FULL, seconds_left=2.0)) == [RAN, RAN]


def test_a_stage_that_needs_too_long_is_run_by_its_cheaper_variant_and_the_result_says_so(compose):
    pipeline = compose(stage("triage", "classify", cheaper=(config.Cheaper("classify"),)))
    known(pipeline, "triage", 5.0)
    known(pipeline, "triage", 0.001, variant=1)
    record = pipeline.run(FULL, seconds_left=2.0, droppable=True).stages[0]
    assert record.outcome is RAN and "cheaper variant 1" in record.reason
    assert pipeline.run(FULL).stages[0].reason == ""


def test_every_decision_about_a_deadline_is_counted_by_its_reason(compose):
    counted = []

    class Counting(NullMetrics):
        def count(self, name, amount=1.0, **labels):
            if name == "edge_schedule_decisions_total":
                counted.append((labels["stage"], labels["decision"], labels["reason"]))

    pipeline = compose(stage("triage", "classify"), stage("volume", "segment", optional=True), metrics=Counting())
    known(pipeline, "volume", 5.0)
    pipeline.run(FULL, seconds_left=2.0)
    pipeline.run(FULL)
    assert counted == [("triage", "run", "fits"), ("volume", "skip", "too_slow")]


def test_a_record_tells_what_a_stage_was_expected_to_need(compose):
    pipeline = compose(stage("triage", "classify"))
    known(pipeline, "triage", 0.5)
    assert pipeline.run(FULL, seconds_left=9.0).stages[0].expected_seconds == pytest.approx(0.5)
    assert pipeline.run(FULL).stages[0].expected_seconds is None


def test_a_variant_with_other_labels_or_another_task_is_refused(compose):
    with pytest.raises(ConfigurationError, match="another task"):
        compose(stage("triage", "classify", cheaper=(config.Cheaper("segment"),)))


def test_a_result_names_its_cheaper_engines_only_where_there_are_any(compose):
    plain, varied = json.loads(
        compose(stage("a", "classify"), stage("b", "classify", cheaper=(config.Cheaper("knows"),))).stages_json
    )
    assert not [key for key in plain if "cheaper" in key]
    assert varied["cheaper"][0]["engine"] == "knows" and len(varied["cheaper_card_sha256"]) == 1


def test_an_engine_that_nobody_measured_is_expected_to_take_what_its_golden_run_takes(compose):
    pipeline = compose(stage("look", "classify"))
    pipeline.stages = tuple(dataclasses.replace(s, expected_seconds=0.0) for s in pipeline.stages)
    pipeline.estimates.expect("look", 0, 0.0)
    pipeline.warm()
    assert pipeline.estimates.of("look", 0).seconds > 0
