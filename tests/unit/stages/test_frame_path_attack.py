"""What goes wrong on the device never becomes an answer of another picture, nor one that the host would refuse."""

import contextlib
import dataclasses
import threading

import numpy as np
import pytest
from onnx import helper
from support.models import build_engine, card, classifier, network, segmenter, volume
from support.numpy_on_device import NumpyPreparation, frames, on_device

from edge_runtime import config
from edge_runtime.compose import compose_pipeline
from edge_runtime.device.host import HostDevice
from edge_runtime.domain import StageOutcome
from edge_runtime.engines.runner import EngineRunner
from edge_runtime.errors import InferenceFailed, OutOfDeviceMemory
from edge_runtime.telemetry.metrics import NullMetrics

FRAME = (1, 1, 8, 8)
LOOK, OUTLINE = config.Stage("look", "classify"), config.Stage("outline", "segment")
LAST = config.Stage("last", "classify")
ALL, NONE = np.full((16, 16), 100, np.float32), np.zeros((16, 16), np.float32)


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    build_engine(folder, card("classification", FRAME, name="classify"), classifier(FRAME))
    build_engine(folder, card("segmentation", FRAME, name="segment"), segmenter(FRAME))
    return config.Engines(path=str(folder), allow_unsigned=True, threads=1)


@pytest.fixture(params=["shared", "copied"])
def memory(request, monkeypatch):
    """Host and device share memory, as on Jetson, or all that passes between them is copied, as with a card."""
    if request.param == "copied":
        monkeypatch.setattr(HostDevice, "view", lambda self, buffer: None)


@pytest.fixture
def made(engines, memory):
    """Makes the same pipeline twice: of the host, and on the device."""
    with contextlib.ExitStack() as stack:

        def make(*stages, told=lambda _: None):
            plain = compose_pipeline(config.Pipeline("p", stages), engines, NullMetrics())
            stack.callback(plain.close)
            device = plain.stages[0].runner._device
            return plain, on_device(plain, device, lambda: contextlib.nullcontext(0.0), told)

        yield make


def probability(analysis, stage):
    return next(f.probability for f in analysis.findings if f.stage == stage)


def on_host_only(pipeline, number):
    """The pipeline with one stage that the device does not prepare."""
    stages = list(pipeline.stages)
    stages[number] = dataclasses.replace(stages[number], on_device=None)
    pipeline.stages = pipeline._decider._stages = tuple(stages)
    return pipeline


def test_after_a_failure_the_picture_is_uploaded_again_for_the_stages_that_follow(made, monkeypatch):
    """The one before it left its failure in the stream, so nothing of it came to the device."""
    _, fast = made(LOOK, OUTLINE, LAST)
    fast = on_host_only(fast, 1)
    assert probability(fast.run(frames(NONE)), "last") == 0
    session = fast.stages[0].runner.session
    enqueue = session.enqueue

    def fails():
        raise InferenceFailed("the library failed in its work")

    def broken(bindings, stream):
        stream.submit(fails)
        raise InferenceFailed("the library failed")

    monkeypatch.setattr(session, "enqueue", broken)
    fast.run(frames(NONE))
    monkeypatch.setattr(session, "enqueue", enqueue)
    for _ in range(3):
        assert probability(fast.run(frames(ALL)), "last") == 1


def test_a_picture_that_lies_otherwise_in_pinned_memory_is_copied(made, monkeypatch):
    monkeypatch.setattr(HostDevice, "pin", lambda self, array: array)
    plain, fast = made(OUTLINE)
    slot = np.zeros((16, 16), np.float32)
    slot[:4] = 100
    fast.pin(slot)
    for one in (slot, slot.T, slot[::-1], slot, slot.T):
        ours, hosts = fast.run(frames(one)), plain.run(frames(one))
        assert (ours.masks[0].voxels == hosts.masks[0].voxels).all()


def test_a_graph_that_the_device_has_no_memory_for_is_a_visible_fallback(made, monkeypatch, caplog):
    told = []
    plain, fast = made(LOOK, told=told.append)

    def full(self, stream, work):
        raise OutOfDeviceMemory("cuGraphInstantiate", "CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(HostDevice, "capture", full)
    for _ in range(4):
        assert fast.run(frames(ALL)).findings == plain.run(frames(ALL)).findings
    assert told == ["fallback"] and "cuGraphInstantiate" in str([getattr(r, "event", "") for r in caplog.records])


@pytest.mark.parametrize("value", [3e38, 1e30, -2e38, np.inf, np.nan])
def test_a_picture_of_impossible_numbers_is_the_hosts(made, value, monkeypatch):
    """Between them a kernel's float32 overflows; a network may hide the NaN that comes of it."""
    plain, fast = made(LOOK)
    one = ALL.copy()
    one[3, 5] = value
    monkeypatch.setattr(fast._frame_path, "run", None)  # whoever calls it fails
    mine, hosts = fast.run(frames(one)), plain.run(frames(one))
    assert mine.findings == hosts.findings and [r.reason for r in mine.stages] == [r.reason for r in hosts.stages]


@pytest.mark.parametrize("broken", ["nothing", "impossible", "library"])
def test_a_device_that_does_not_prepare_the_golden_input_is_left_to_the_host(made, monkeypatch, broken, caplog):
    """Also where it does nothing at all, and the host's golden run has left the right numbers in the buffers."""
    plain, fast = made(LOOK)
    preparation, session = fast.stages[0].on_device.preparation, fast.stages[0].runner.session
    enqueue, runs = session.enqueue, []

    def impossible(*_):
        raise InferenceFailed("no picture")

    def refuses(bindings, stream):
        runs.append(1)
        if len(runs) > 1:  # the first one is the host's
            raise InferenceFailed("the library failed")
        enqueue(bindings, stream)

    if broken == "nothing":
        monkeypatch.setattr(NumpyPreparation, "enqueue", lambda *_: None)
    elif broken == "impossible":
        monkeypatch.setattr(preparation, "place", impossible)
    else:
        monkeypatch.setattr(session, "enqueue", refuses)
    fast.warm()
    monkeypatch.setattr(session, "enqueue", enqueue)
    assert any("the host does it" in r.message for r in caplog.records)
    found = fast.run(frames(ALL))
    assert found.findings == plain.run(frames(ALL)).findings
    assert found.stages[0].outcome is StageOutcome.RAN


def test_an_output_stays_until_the_next_one_is_asked_for(made):
    plain, _ = made(LOOK)
    runner: EngineRunner = plain.stages[0].runner
    inputs = [np.full(FRAME, n / 8, np.float32) for n in range(8)]
    for expected, output in zip(inputs, runner.run_each(inputs), strict=True):
        assert output.item() == expected.flat[0]
    dropped = runner.run_each(inputs)
    next(dropped)
    next(dropped)
    dropped.close()
    assert runner.run(inputs[7]).item() == 7 / 8


def root(shape):
    """One probability, 0; NaN where the image is negative somewhere."""
    nodes = [
        helper.make_node("Sqrt", ["image"], ["root"]),
        helper.make_node("ReduceMean", ["root"], ["mean"], axes=list(range(1, len(shape))), keepdims=1),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "shape"], ["probability"]),
    ]
    constants = {"zero": np.float32(0), "shape": np.array([1, 1], dtype=np.int64)}
    return network(nodes, {"image": shape}, {"probability": (1, 1)}, constants)


@pytest.mark.parametrize("memory", ["copied"], indirect=True)
def test_an_output_that_fails_between_two_windows_gives_its_turn_back(memory, tmp_path):
    """The next window runs by then, and the failure's traceback keeps alive what asked for it."""
    shape = (1, 1, 16, 16, 16)
    steps = [{"orient": "RAS"}, {"tile": {"shape": list(shape[2:]), "overlap": 0.5}}]
    build_engine(tmp_path, card("classification", shape, name="root", preprocess=steps), root(shape))
    engines = config.Engines(path=str(tmp_path), allow_unsigned=True, threads=1)
    pipeline = compose_pipeline(config.Pipeline("p", (config.Stage("look", "root"),)), engines, NullMetrics())
    good = np.ones((16, 16, 64), np.float32)
    bad = good.copy()
    bad[..., -4:] = bad[..., :4] = -1
    outcomes = []

    def analyse():
        outcomes.extend(pipeline.run(volume(voxels)).stages[0].outcome for voxels in (bad, good, bad, good))

    thread = threading.Thread(target=analyse, daemon=True)
    thread.start()
    thread.join(20.0)
    assert outcomes == [StageOutcome.FAILED, StageOutcome.RAN] * 2
    pipeline.close()
