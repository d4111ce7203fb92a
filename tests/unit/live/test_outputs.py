"""What is done with results: only the newest is drawn, every one is sent, and nothing is mixed between sources."""

from dataclasses import replace

import pytest
from support.dicom_peers import RecordingMetrics
from support.live_results import frame_result, number_of, numbered
from support.spools import make_config

from edge_runtime.config import Destination, Pipeline, SendTo, Stage, Video
from edge_runtime.frames.channels import create_channels
from edge_runtime.frames.slot import BUFFERS, SlotWriter
from edge_runtime.live.outputs import Outputs
from edge_runtime.live.registry import build_sinks

SOURCES = ("tower-1", "tower-2")


class Taking:
    """A destination, or a choice of key frames, that remembers."""

    def __init__(self, name: str = "out", wants_pictures: bool = False) -> None:
        self.name, self.wants_pictures = name, wants_pictures
        self.taken: list[tuple[str, int, int | None]] = []

    def put(self, result, picture) -> None:
        self.taken.append((result.source, result.sequence, None if picture is None else number_of(picture)))

    def offer(self, result, pixels) -> None:
        self.taken.append((result.source, result.sequence, number_of(pixels)))

    def close(self, drain_seconds=0.0) -> None:
        return


class Site:
    def __init__(self, folder) -> None:
        videos = tuple(Video(name, "endoscopy", url="x") for name in SOURCES)
        pipeline = Pipeline("endoscopy", (Stage("boxes", "e"),))
        self.config = replace(make_config(folder), pipelines=(pipeline,), destinations=(), video=videos)
        self.channels = create_channels(self.config)
        self.writers = {name: SlotWriter(self.channels.sources[name].frames) for name in SOURCES}
        self.metrics = RecordingMetrics()
        self.lines, self.recording, self.keys = Taking("lines"), Taking("recording", wants_pictures=True), Taking()
        sinks = {name: [self.lines, self.recording] for name in SOURCES}
        self.now = 1000.0
        self.outputs = Outputs(self.config, self.channels, sinks, self.keys, self.metrics, lambda: self.now)

    def frame(self, source: str, number: int):
        """A frame of that number in the slot, and its result."""
        header = self.writers[source].publish(numbered(number), self.now - 0.02, 1795406400.0)
        assert header is not None
        buffer = self.writers[source]._map[0]
        return frame_result(source, header.sequence, buffer=buffer, now=self.now)

    def outcomes(self) -> dict[str, float]:
        return {"/".join(k[1:]): n for k, n in self.metrics.counts.items() if k[0] == "edge_live_pictures_total"}


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.outputs.close(0.0)
    made.channels.close()


def test_of_a_burst_each_source_s_newest_is_drawn_and_every_result_is_sent(site):
    results = [site.frame(source, base + n) for n in range(3) for source, base in (("tower-1", 0), ("tower-2", 500))]
    site.outputs.process(results)
    assert site.lines.taken == [(r.source, r.sequence, None) for r in results]
    assert [entry for entry in site.recording.taken if entry[2] is not None] == [("tower-1", 3, 2), ("tower-2", 3, 502)]
    assert len(site.recording.taken) == 6
    assert site.outcomes() == {
        "tower-1/drawn": 1, "tower-2/drawn": 1, "tower-1/overwritten": 2, "tower-2/overwritten": 2,
    }  # fmt: skip


def test_every_frame_that_can_still_be_read_is_offered_as_key_frame_with_its_own_pixels(site):
    site.outputs.process([site.frame("tower-1", n) for n in range(4)])
    assert site.keys.taken == [("tower-1", n + 1, n) for n in range(4)]


def test_a_frame_that_was_overwritten_is_never_drawn_with_another_s_pixels(site):
    old = site.frame("tower-1", 100)
    for number in range(2 * BUFFERS):
        site.frame("tower-1", number)
    site.outputs.process([old])
    assert site.keys.taken == [] and site.outcomes() == {"tower-1/overwritten": 1}
    assert site.recording.taken == [("tower-1", 1, None)] and site.lines.taken == [("tower-1", 1, None)]


def test_the_frame_is_given_back_so_that_capture_can_go_on(site):
    for number in range(5 * BUFFERS):
        site.outputs.process([site.frame("tower-1", number)])
    assert site.outcomes() == {"tower-1/drawn": 5 * BUFFERS}


def test_a_stale_frame_is_sent_but_not_shown(site):
    result = site.frame("tower-1", 1)
    site.now += 0.6
    site.outputs.process([result])
    assert site.outcomes() == {"tower-1/stale": 1}
    assert site.lines.taken == [("tower-1", 1, None)] and site.recording.taken == [("tower-1", 1, None)]


def test_results_of_an_unknown_source_are_left_out(site):
    site.outputs.process([frame_result("stranger"), site.frame("tower-1", 1)])
    assert site.lines.taken == [("tower-1", 1, None)] and site.outcomes() == {"tower-1/drawn": 1}


def test_a_destination_is_one_for_all_sources_whose_pipeline_names_it(tmp_path):
    stages = (Stage("boxes", "e"),)
    pipelines = (
        Pipeline("endoscopy", stages, send_to=(SendTo("lines"), SendTo("other"))),
        Pipeline("ultrasound", stages, send_to=(SendTo("lines"),)),
        Pipeline("unused", stages),
    )
    names = ("lines", "other", "nobody")
    destinations = tuple(Destination(name, "jsonlines", path=str(tmp_path / name)) for name in names)
    videos = (
        Video("a", "endoscopy", url="x"), Video("b", "ultrasound", url="x"), Video("c", "unused", url="x"),
    )  # fmt: skip
    config = replace(make_config(tmp_path), pipelines=pipelines, destinations=destinations, video=videos)
    sinks = build_sinks(config, RecordingMetrics())
    assert {source: [sink.name for sink in each] for source, each in sinks.items()} == {
        "a": ["lines", "other"], "b": ["lines"], "c": [],
    }  # fmt: skip
    assert sinks["a"][0] is sinks["b"][0]
    for sink in sinks["a"]:
        sink.close(10)
