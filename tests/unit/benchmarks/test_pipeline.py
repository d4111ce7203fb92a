"""The scenario about a configured pipeline: what is told of an image and its stages, and what is refused."""

import numpy as np
import pytest
import yaml
from support.models import build_engine, card, classifier, segmenter
from support.site import write_config

from benchmarks.measured import Accelerator
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios import pipeline
from benchmarks.scenarios.pipeline_images import images_named
from benchmarks.scenarios.pipeline_schema import PipelineScenario
from benchmarks.scenarios.pipeline_sides import Analysed, Side, StageTimes
from edge_runtime import config as configuration
from edge_runtime.compose import compose_pipeline
from edge_runtime.domain import Frames, SourceImage
from edge_runtime.stages.stage import OneByOne
from edge_runtime.yaml_schema import read_schema

SHAPE = (1, 1, 16, 16)
STAGES = [{"name": "look", "engine": "look"}, {"name": "outline", "engine": "outline", "when": "look.brain.positive"}]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A configuration of two stages for grey frames, of which the second looks only where the first is positive."""
    folder = tmp_path_factory.mktemp("site")
    engines = folder / "engines"
    build_engine(engines, card("classification", SHAPE, name="look"), classifier(SHAPE))
    build_engine(engines, card("segmentation", SHAPE, name="outline"), segmenter(SHAPE))
    return write_config(folder / "site.yaml", engines, [], stages=STAGES)


@pytest.fixture
def side(site):
    """Shows a bright frame, in which both stages run, and a dark one, in which only the first does."""
    config, times = read_schema(configuration.Config, site), StageTimes()
    frames = [Frames(np.full((1, 16, 16), grey, np.float32), "ES", (SourceImage("a", "b"),)) for grey in (80, 10)]
    made = Side(compose_pipeline(config.pipelines[0], config.engines, times), frames, times)
    yield made
    made.close()


def test_the_stages_of_an_image_are_parts_of_it_and_the_network_is_a_part_of_its_stage(side):
    side.warm()
    for number in range(6):
        one = side.analyse(number)
        assert sum(one.stages.values()) <= one.seconds
        assert all(0 <= one.engines[stage] <= one.stages[stage] for stage in one.stages)
        assert one.ran == (("look", "outline") if number % 2 == 0 else ("look",))
        assert tuple(span.name for span in one.spans) == one.ran
        ends = [moment for span in one.spans for moment in (span.begin_seconds, span.end_seconds)]
        assert ends[0] >= 0 and ends[-1] <= one.seconds and ends == sorted(ends)


def test_a_stage_that_fails_is_no_measurement(side, monkeypatch):
    class Broken(OneByOne):
        engine_seconds = waited_seconds = 0.0

        def run(self, prepared):
            raise ValueError("no")

        def close(self):
            pass

    stages = side._pipeline.stages
    object.__setattr__(stages[0], "runner", Broken())
    with pytest.raises(BenchFailed, match="stage look failed: unexpected ValueError"):
        side.analyse(0)


def test_computed_frames_do_not_go_into_a_pipeline_of_volumes(site, tmp_path):
    config = read_schema(configuration.Config, site)

    class Volumes:
        name, input_kind = "head", "volume"

    with pytest.raises(BenchFailed, match="pipeline head takes volumes"):
        images_named("disc-frames", 2, Volumes(), config, tmp_path)


def test_a_pipeline_that_is_not_in_the_configuration_is_named_with_those_that_are(site):
    config = read_schema(configuration.Config, site)
    with pytest.raises(BenchFailed, match=r"has no pipeline other; it has: find-ball"):
        pipeline._chosen(config, PipelineScenario("pipeline", pipeline="other"))
    assert pipeline._chosen(config, PipelineScenario("pipeline")).pipelines == config.pipelines


@pytest.mark.parametrize("seconds", [None, 0.25])
def test_a_deadline_counts_only_where_the_configuration_has_one(site, tmp_path, seconds):
    document = yaml.safe_load(site.read_text())
    if seconds is not None:
        document["pipelines"][0]["deadline_seconds"] = seconds
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    record = Record({}, reduced=False)
    scenario = PipelineScenario("pipeline", config=str(tmp_path / "mine.yaml"))
    config = read_schema(configuration.Config, tmp_path / "mine.yaml")
    assert pipeline._budget(scenario, config, record) == (seconds, "pipelines.find-ball.deadline_seconds")
    assert [problem.startswith("no deadline was checked") for problem in record.problems] == [True] * (seconds is None)


class Paced:
    """A side whose images take a fixed time each, in two stages."""

    def __init__(self, seconds):
        self.seconds, self.numbers = seconds, []

    def analyse(self, number):
        self.numbers.append(number)
        half = self.seconds / 2
        return Analysed(self.seconds, {"a": half, "b": half}, {"a": half / 2, "b": 0.0}, ("a", "b"), ())


def test_both_sides_see_the_same_images_and_late_ones_are_counted():
    record, edge, bare = Record({}, reduced=False), Paced(0.2), Paced(0.1)
    scenario = PipelineScenario("pipeline", images=4, loads=())
    bench = pipeline._Bench(scenario, record, {"edge": edge, "bare": bare}, (0.15, "pipelines.x"), Accelerator.CPU)
    bench.round(1)
    bench.round(2)
    assert edge.numbers == bare.numbers == [0, 1, 2, *range(4), *range(4)]
    assert record.figures["latency p50, edge : bare"].samples == [pytest.approx(2)] * 2
    assert record.figures["stage a p50"].samples == [pytest.approx(100)] * 2
    deadline = record.deadlines["single-stream/edge"]
    assert (deadline.counted, deadline.missed, deadline.budget_seconds) == (8, 8, 0.15)
    assert record.checks["images in which a stage ran"] == {"a": 8, "b": 8}
    assert len(record.timelines) == 1 and len(record.latencies["single-stream/bare"].rounds) == 2


def test_a_round_ends_when_its_seconds_are_used_up():
    record, edge = Record({}, reduced=False), Paced(0.4)
    scenario = PipelineScenario("pipeline", images=100, seconds=1.0, loads=())
    pipeline._Bench(scenario, record, {"edge": edge}, (None, "pipelines.x"), Accelerator.CPU).round(1)
    assert len(record.latencies["single-stream/edge"].rounds[0]) == 3
