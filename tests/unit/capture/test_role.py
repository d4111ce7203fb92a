"""The role around the reader: ready without a camera, and a decoder that hangs is left for the supervisor to find."""

import sys
import time
from types import SimpleNamespace

import pytest

from edge_runtime.config import Config, Pipeline, Spool, Stage, Video
from edge_runtime.errors import BackendUnavailable, ConfigurationError
from edge_runtime.frames.channels import create_channels
from edge_runtime.metrics import METRICS
from edge_runtime.roles import capture
from edge_runtime.telemetry.metrics import RoleMetrics

CONFIG = Config(
    spool=Spool(path="/nowhere"),
    pipelines=(Pipeline(name="p", stages=(Stage(name="a", engine="e"),)),),
    video=(Video(name="tower", pipeline="p", url="/nowhere.mp4", maximum_pixels=256),),
)


class FakeLink:
    """Stops after so many turns of the role's loop."""

    def __init__(self, channels, turns):
        self.source, self.channels = "tower", channels
        self.begun, self.beats, self.is_ready = [], 0, False
        self.stopped = SimpleNamespace(wait=self._wait)
        self._turns = turns

    def _wait(self, _seconds):
        self._turns -= 1
        return self._turns < 0

    def ready(self):
        self.is_ready = True

    def beat(self):
        self.beats += 1

    def begin(self, *activity):
        self.begun.append(activity)


class FakeReader:
    """A reader whose loop turned last at a moment."""

    def __init__(self, turned_at, alive=True):
        self.turned_at, self._alive, self.error = turned_at, alive, None

    def start(self):
        """Nothing."""

    def is_alive(self):
        return self._alive

    def state(self):
        return "live"

    def stop(self, _within_seconds):
        return True


@pytest.fixture
def channels():
    made = create_channels(CONFIG)
    yield made
    made.close()


def run(monkeypatch, channels, reader, turns=3):
    metrics = RoleMetrics(METRICS, {"source": ("tower",)})
    monkeypatch.setattr(capture, "_reader", lambda *_: reader)
    link = FakeLink(channels, turns)
    capture.run(CONFIG, link, metrics)
    return link, {labels[1]: value for name, labels, value in metrics.snapshot() if name == "edge_video_state"}


def test_the_bound_is_put_off_while_the_reader_turns(monkeypatch, channels):
    link, states = run(monkeypatch, channels, FakeReader(time.monotonic() + 60))
    assert link.is_ready and link.beats == 3 and len(link.begun) == 4
    assert states["live"] == 1.0 and sum(states.values()) == 1.0


def test_it_is_not_put_off_while_the_reader_hangs(monkeypatch, channels):
    link, _ = run(monkeypatch, channels, FakeReader(time.monotonic() - 60))
    assert link.begun == [("video", "tower", capture._HANG_SECONDS)], "once, so that a hang from the first is found too"


def test_a_reader_that_ended_ends_the_role_with_its_error(monkeypatch, channels):
    reader = FakeReader(0.0, alive=False)
    reader.error = ConfigurationError("no such kind")
    with pytest.raises(ConfigurationError):
        run(monkeypatch, channels, reader)


def test_without_the_packages_for_video_the_way_out_is_named(monkeypatch, channels):
    for name in [name for name in sys.modules if name == "av" or name.startswith("edge_runtime.capture.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BackendUnavailable, match=r"edge-runtime\[video\]"):
        capture.run(CONFIG, FakeLink(channels, 1), RoleMetrics(METRICS, {"source": ("tower",)}))
