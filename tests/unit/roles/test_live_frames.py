"""Frames side by side in lanes: results never mix frames, each source keeps its order, nothing waits in a queue."""

import contextlib
import dataclasses
import random
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from support.models import build_engine, card, classifier, segmenter

from edge_runtime import compose, config
from edge_runtime.device.host import HostDevice
from edge_runtime.engines import runner
from edge_runtime.errors import EngineError, InferenceFailed
from edge_runtime.frames.channels import create_channels
from edge_runtime.frames.frame_result import decode
from edge_runtime.frames.slot import SlotReader, SlotWriter
from edge_runtime.metrics import METRICS, label_values
from edge_runtime.roles import frames
from edge_runtime.roles.frames import LiveFrames
from edge_runtime.schedule.arbiter import Arbiter
from edge_runtime.schedule.estimates import Estimates
from edge_runtime.telemetry.metrics import NullMetrics, RoleMetrics

pytestmark = pytest.mark.slow

FRAME = (1, 1, 8, 8)
LONG = 20.0  # seconds; a limit for what takes milliseconds


class Copying(HostDevice):
    """A host whose streams take random times, and that shares no memory with its buffers, as graphics cards do not."""

    def __init__(self, threads=0):
        super().__init__(threads)
        self.dice = random.Random(5)
        self.concurrency = 3
        self.abilities = dataclasses.replace(self.abilities, shared_memory=False)

    def view(self, buffer):
        return None

    def upload(self, array, buffer, stream):
        stream.submit(self._pause)
        super().upload(array, buffer, stream)

    def download(self, buffer, array, stream):
        stream.submit(self._pause)
        super().download(buffer, array, stream)

    def _pause(self):
        time.sleep(self.dice.choice((0.0, 0.0005, 0.002)))


class Deaf(Copying):
    """The canary: streams do not wait for each other's events, so that a network reads what is not there yet."""

    def stream(self, *priority, **keys):
        stream = super().stream(*priority, **keys)
        stream.wait = lambda event: None
        return stream


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live-engines")
    steps = [{"colour": "grey"}, {"resize": {"shape": [8, 8]}}, {"window": {"range": [0.0, 250.0]}}]
    for name in ("first", "second", "third"):
        build_engine(folder, card("classification", FRAME, name=name, preprocess=steps), classifier(FRAME))
    build_engine(folder, card("segmentation", FRAME, name="outline", preprocess=steps), segmenter(FRAME))
    return config.Engines(path=str(folder), allow_unsigned=True, threads=1)


class Daemon:
    """The live half of infer in this process, with the two ends of every source."""

    def __init__(self, engines, tmp_path, stages, sources=("a", "b"), deadline=LONG, lanes=4):
        video = tuple(config.Video(n, "p", url="x", deadline_seconds=deadline, maximum_pixels=1024) for n in sources)
        pipeline = config.Pipeline("p", stages)
        self.config = config.Config(config.Spool(str(tmp_path)), (pipeline,), engines=engines, video=video)
        self.metrics = RoleMetrics(METRICS, label_values(self.config))
        self.channels = create_channels(self.config)
        self.writers = {name: SlotWriter(self.channels.sources[name].frames) for name in sources}
        self.readers = {name: SlotReader(self.channels.sources[name].frames) for name in sources}
        self.arbiter = Arbiter(3, self.metrics)
        self.claimed = compose.compose_claimed(pipeline, engines, self.metrics, self.arbiter, lanes, Estimates())
        for one in self.claimed:
            one.pipeline.warm()
        self.frames = LiveFrames(self.config, self.channels, {"p": self.claimed}, 3, self.metrics)
        self._socket = socket.socket(fileno=self.channels.results_out)
        self._socket.setblocking(True)
        self._socket.settimeout(LONG)

    def __enter__(self):
        self.frames.start()
        return self

    def __exit__(self, *_):
        self.frames.stop()
        for one in reversed(self.claimed):
            one.pipeline.close()
        self._socket.close()

    def publish(self, source, value, age=0.0):
        pixels = np.full((6, 5, 3), value, np.uint8)
        return self.writers[source].publish(pixels, time.monotonic() - age, time.time() - age)

    def result(self, seconds=LONG):
        self._socket.settimeout(seconds)
        return decode(self._socket.recv(1_000_000))

    def counts(self, source="a"):
        return {k[1]: v for n, k, v in self.metrics.snapshot() if n == "edge_video_frames_total" and k[0] == source}

    def wait_for(self, outcome, amount, source="a"):
        ends = time.monotonic() + LONG
        while self.counts(source).get(outcome, 0) < amount:
            assert time.monotonic() < ends, self.counts(source)
            time.sleep(0.002)


def stages(*names, **keys):
    return tuple(config.Stage(name, name, **keys) for name in names)


def play(daemon, frames=60):
    """Publish frames of changing brightness at random moments; every result with the brightness that it should have."""
    dice = random.Random(2)
    shown = {}
    results = []
    done = threading.Event()

    def listen():
        while not done.is_set():
            try:
                results.append(daemon.result(0.3))
            except TimeoutError:
                continue

    listener = threading.Thread(target=listen)
    listener.start()
    for _ in range(frames):
        for source in ("a", "b"):
            value = dice.randrange(0, 251)
            header = daemon.publish(source, value)
            if header is not None:
                shown[source, header.sequence] = value / 250
        time.sleep(dice.choice((0.0, 0.002, 0.01)))
    for source in ("a", "b"):
        reader = daemon.readers[source]
        with reader.newest() as newest:
            ends = time.monotonic() + LONG
            while time.monotonic() < ends and (source, newest.header.sequence) not in {
                (r.source, r.sequence) for r in results
            }:
                time.sleep(0.01)
    done.set()
    listener.join()
    return shown, results


def mixed(shown, results):
    """Results in which any stage speaks of another frame's brightness."""
    return [
        (result.source, result.sequence)
        for result in results
        for finding in result.analysis.findings
        if abs(finding.probability - shown[result.source, result.sequence]) > 0.01
    ]


@pytest.mark.parametrize("device", [HostDevice, Copying])
def test_results_never_mix_frames_and_keep_their_order(engines, tmp_path, monkeypatch, device):
    monkeypatch.setattr(compose, "load_device", lambda engines: device(engines.threads))
    with Daemon(engines, tmp_path, stages("first", "second", "third")) as daemon:
        shown, results = play(daemon)
    assert len(results) > 20
    assert all(len(result.analysis.findings) == 3 for result in results)
    assert mixed(shown, results) == []
    for source in ("a", "b"):
        numbers = [result.sequence for result in results if result.source == source]
        assert numbers == sorted(set(numbers))


def test_the_canary_a_device_that_does_not_wait_for_events_mixes_frames(engines, tmp_path, monkeypatch):
    monkeypatch.setattr(compose, "load_device", lambda engines: Deaf(engines.threads))
    monkeypatch.setattr("edge_runtime.stages.pipeline.Pipeline.warm", lambda self: None)
    with Daemon(engines, tmp_path, stages("first", "second", "third")) as daemon:
        shown, results = play(daemon)
    assert mixed(shown, results) != []


def test_a_buffer_is_not_used_again_before_its_output_was_copied_out(engines, monkeypatch, tmp_path):
    """Lanes of one engine at once, each told its own input, over a device that is slow to copy."""
    device = Copying(1)
    monkeypatch.setattr(compose, "load_device", lambda _engines: device)
    arbiter = Arbiter(3, NullMetrics())
    claimed = compose.compose_claimed(config.Pipeline("p", stages("first")), engines, NullMetrics(), arbiter, 3)
    wrong = []

    def run(one, values):
        engine = one.pipeline.stages[0].runner
        for value in values:
            found = engine.run(np.full(FRAME, value, np.float32)).copy()
            if abs(float(found.item()) - value) > 1e-6:
                wrong.append((value, found))

    threads = [
        threading.Thread(target=run, args=(one, [k + n / 100 for n in range(40)])) for k, one in enumerate(claimed)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    device.close()
    assert wrong == []


def test_only_the_newest_frame_is_taken_and_the_others_are_counted(engines, tmp_path):
    with Daemon(engines, tmp_path, stages("first"), sources=("a",), lanes=1) as daemon:
        daemon.publish("a", 10)
        daemon.wait_for("in_time", 1)
        gate = threading.Event()
        hold(daemon, gate)
        daemon.publish("a", 20)
        for value in (30, 40, 50):
            time.sleep(0.01)
            daemon.publish("a", value)
        gate.set()
        daemon.wait_for("in_time", 3)
        assert [daemon.result().sequence for _ in range(3)] == [1, 2, 5]
        assert daemon.counts()["superseded"] == 2


def hold(daemon, gate):
    """Every run of an engine waits for the gate."""
    turn = daemon.arbiter.turn

    @contextmanager
    def held(wish):
        gate.wait(LONG)
        with turn(wish) as waited:
            yield waited

    daemon.arbiter.turn = held


def test_a_frame_that_is_too_old_is_not_begun(engines, tmp_path):
    with Daemon(engines, tmp_path, stages("first"), sources=("a",), deadline=5.0) as daemon:
        daemon.publish("a", 10, age=6.0)
        daemon.wait_for("dropped", 1)
        daemon.publish("a", 20)
        assert daemon.result().sequence == 2
        assert "late" not in daemon.counts()


def test_a_result_that_comes_too_late_is_counted_and_never_sent(engines, tmp_path):
    with Daemon(engines, tmp_path, stages("first"), sources=("a",), deadline=0.3) as daemon:
        gate = threading.Event()
        hold(daemon, gate)
        daemon.publish("a", 10)
        time.sleep(0.5)
        gate.set()
        daemon.wait_for("late", 1)
        with pytest.raises(TimeoutError):
            daemon.result(0.2)
        causes = {k[1]: v for n, k, v in daemon.metrics.snapshot() if n == "edge_frame_deadline_missed_total"}
        assert sum(causes.values()) == 1


def test_the_picture_of_the_newest_result_stays_until_the_next(engines, tmp_path):
    with Daemon(engines, tmp_path, stages("outline"), sources=("a",)) as daemon:
        daemon.publish("a", 200)
        result = daemon.result()
        gate = threading.Event()
        hold(daemon, gate)
        for value in range(30):
            daemon.publish("a", value)
        with daemon.readers["a"].of(result.buffer, result.sequence) as picture:
            assert (picture.pixels == 200).all()
        assert result.analysis.masks[0].voxels.shape == (1, 6, 5) and result.analysis.masks[0].voxels.all()
        gate.set()


def test_a_frame_that_fails_is_told_as_incomplete_and_the_next_is_whole(engines, tmp_path, monkeypatch):
    with Daemon(engines, tmp_path, stages("first"), sources=("a",), lanes=1) as daemon:
        run_each = runner.EngineRunner.run_each

        def fail(self, inputs):
            raise InferenceFailed("the library failed")

        monkeypatch.setattr(runner.EngineRunner, "run_each", fail)
        daemon.publish("a", 10)
        assert not daemon.result().analysis.complete
        monkeypatch.setattr(runner.EngineRunner, "run_each", run_each)
        daemon.publish("a", 10)
        assert daemon.result().analysis.complete


def test_a_pipeline_that_breaks_with_every_frame_is_counted_each_time_and_told_once(engines, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(frames.log, "exception", lambda message, **_: told.append(message))
    with Daemon(engines, tmp_path, stages("first"), sources=("a",), lanes=1) as daemon:
        monkeypatch.setattr(LiveFrames, "_analyse", lambda *_: 1 // 0)
        for number in range(1, 6):
            daemon.publish("a", 10)
            daemon.wait_for("failed", number)
    assert told == ["frame failed"]


def test_a_lost_device_is_told(engines, tmp_path, monkeypatch):
    with Daemon(engines, tmp_path, stages("first"), sources=("a",)) as daemon:

        def lost(self, inputs):
            raise EngineError("the device fell off the bus")

        monkeypatch.setattr(runner.EngineRunner, "run_each", lost)
        daemon.publish("a", 10)
        ends = time.monotonic() + LONG
        while daemon.frames.broken is None and time.monotonic() < ends:
            time.sleep(0.01)
        with pytest.raises(EngineError, match="bus"):
            daemon.frames.check()


def test_nobody_listening_costs_results_that_are_counted(engines, tmp_path):
    with Daemon(engines, tmp_path, stages("first"), sources=("a",)) as daemon:
        daemon.frames._results.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        lost = 0
        ends = time.monotonic() + LONG
        while not lost and time.monotonic() < ends:
            daemon.publish("a", 10)
            time.sleep(0.001)
            lost = sum(v for n, _, v in daemon.metrics.snapshot() if n == "edge_live_results_lost_total")
        daemon.frames.check()
    assert lost


def test_a_stage_that_suddenly_takes_ten_times_as_long_is_skipped_and_comes_back(engines, tmp_path, monkeypatch):
    """And all the while what is sent is in time."""
    slow = threading.Event()
    run_each = runner.EngineRunner.run_each

    def sometimes(self, inputs):
        if self.card.name == "outline":
            time.sleep(0.4 if slow.is_set() else 0.02)
        return run_each(self, inputs)

    monkeypatch.setattr(runner.EngineRunner, "run_each", sometimes)
    described = (*stages("first"), *stages("outline", optional=True))
    outcomes = []
    with Daemon(engines, tmp_path, described, sources=("a",), deadline=0.2, lanes=2) as daemon:

        def play_until(outcome, least=3):
            outcomes.clear()
            ends = time.monotonic() + LONG
            while outcomes.count(outcome) < least:
                assert time.monotonic() < ends, outcomes
                daemon.publish("a", 200)
                with contextlib.suppress(TimeoutError):
                    result = daemon.result(0.03)
                    assert not result.late
                    outcomes.append(result.analysis.stages[1].outcome.value)

        play_until("ran", 10)
        slow.set()
        play_until("skipped", 10)
        assert outcomes.count("ran") <= 1
        slow.clear()
        play_until("ran", 10)
    assert daemon.counts().get("late", 0) <= 5
