"""A picture that goes its way on the device gets the answers that the host would give, with one wait a decision."""

import contextlib

import numpy as np
import pytest
from support.models import build_engine, card, classifier, segmenter
from support.numpy_on_device import frames, on_device

from edge_runtime import config
from edge_runtime.compose import compose_pipeline
from edge_runtime.device.host import HostDevice
from edge_runtime.device.host_stream import HostEvent
from edge_runtime.domain import Answer, StageOutcome
from edge_runtime.errors import CaptureFailed, FrameDropped, InferenceFailed, OutOfDeviceMemory
from edge_runtime.metrics import METRICS
from edge_runtime.telemetry.metrics import NullMetrics, RoleMetrics

FRAME = (1, 1, 8, 8)
LABELS = {"pipeline": ("p",), "stage": ("look", "find", "outline"), "source": (), "destination": (), "role": ()}


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frame-engines")
    build_engine(folder, card("classification", FRAME, name="classify"), classifier(FRAME))
    build_engine(folder, card("classification", FRAME, name="cheap"), classifier(FRAME))
    build_engine(folder, card("detection", FRAME, name="each", decode={"keep": "each"}), segmenter(FRAME))
    build_engine(folder, card("segmentation", FRAME, name="segment"), segmenter(FRAME))
    return config.Engines(path=str(folder), allow_unsigned=True, threads=1)


def at_once():
    return contextlib.nullcontext(0.0)


@pytest.fixture(params=["shared", "copied"], autouse=True)
def memory(request, monkeypatch):
    """Host and device share memory, as on Jetson, or all that passes between them is copied, as with a card."""
    if request.param == "copied":
        monkeypatch.setattr(HostDevice, "view", lambda self, buffer: None)


@pytest.fixture
def made(engines):
    """Makes the same pipeline twice: of the host, and on the device."""
    with contextlib.ExitStack() as stack:

        def make(*stages, told=lambda _: None, metrics=None, graphs=True, device=None):
            plain = compose_pipeline(config.Pipeline("p", stages), engines, NullMetrics())
            device = device or plain.stages[0].runner._device
            stack.callback(plain.close)
            return plain, on_device(plain, device, at_once, told, graphs, metrics)

        yield make


LOOK = config.Stage("look", "classify")
FIND = config.Stage("find", "each")
OUTLINE = config.Stage("outline", "segment")
WITHIN = config.Stage("outline", "segment", within="find")
WHEN = config.Stage("outline", "segment", when="look.brain.positive")


def picture(*boxes, shape=(16, 12)):
    grey = np.zeros(shape, np.float32)
    for box in boxes:
        grey[box] = 100
    return grey


TWO, ALL, NONE = picture(np.s_[0:6, 0:4], np.s_[10:16, 6:12]), picture(np.s_[:]), picture()
OTHER = picture(np.s_[10:14, 0:2], np.s_[0:4, 8:12])


def same(one, other):
    assert [(r.stage, r.outcome, r.regions) for r in one.stages] == [
        (r.stage, r.outcome, r.regions) for r in other.stages
    ]
    assert one.findings == other.findings
    assert len(one.masks) == len(other.masks)
    for mask, twin in zip(one.masks, other.masks, strict=True):
        assert mask.number == twin.number and (mask.voxels == twin.voxels).all()


@pytest.mark.parametrize("stages", [(LOOK, FIND, OUTLINE), (LOOK, WHEN), (FIND, WITHIN), (FIND, LOOK, WITHIN)])
@pytest.mark.parametrize("graphs", [True, False])
def test_every_picture_gets_the_answers_that_the_host_gives(made, stages, graphs):
    plain, fast = made(*stages, graphs=graphs)
    for one in (TWO, ALL, NONE, TWO, ALL, OTHER, NONE, ALL, TWO):
        same(fast.run(frames(one)), plain.run(frames(one)))


def waits(monkeypatch):
    """Counts how often the host waits for an event."""
    counted = []
    synchronize = HostEvent.synchronize
    monkeypatch.setattr(HostEvent, "synchronize", lambda self: (counted.append(1), synchronize(self))[1])
    return counted


def test_the_host_waits_once_for_stages_between_which_it_decides_nothing(made, monkeypatch):
    _, fast = made(LOOK, FIND, OUTLINE)
    fast.run(frames(TWO))
    counted = waits(monkeypatch)
    for _ in range(3):
        fast.run(frames(TWO))
    assert len(counted) == 3


def test_the_host_waits_once_more_for_each_decision(made, monkeypatch):
    _, fast = made(FIND, WITHIN)
    fast.run(frames(TWO))
    counted = waits(monkeypatch)
    assert fast.run(frames(TWO)).stages[1].regions == 2
    assert len(counted) == 2


def test_the_second_picture_of_a_shape_is_recorded_and_what_follows_is_launched(made):
    told, metrics = [], RoleMetrics(METRICS, LABELS)
    _, fast = made(LOOK, OUTLINE, told=told.append, metrics=metrics)
    for _ in range(4):
        fast.run(frames(TWO))
    assert told == ["captured"]
    fast.run(frames(picture(shape=(5, 5))))
    fast.run(frames(picture(shape=(5, 5))))
    assert told == ["captured"] * 2
    ways = {k[1:]: v for n, k, v in metrics.snapshot() if n == "edge_stage_runs_total" and v}
    assert ways == {("look", "device"): 6, ("outline", "device"): 6}


def test_what_cannot_be_recorded_is_done_piece_by_piece_and_told(made, monkeypatch, caplog):
    told = []
    plain, fast = made(LOOK, told=told.append)

    def refuse(self, stream, work):
        raise CaptureFailed("cuStreamBeginCapture", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")

    monkeypatch.setattr(HostDevice, "capture", refuse)
    for _ in range(4):
        same(fast.run(frames(ALL)), plain.run(frames(ALL)))
    assert told == ["fallback"]
    assert [r.event["reason"] for r in caplog.records if "no graph" in r.message] == [
        "cuStreamBeginCapture failed with CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
    ]


def test_a_session_that_cannot_be_recorded_says_why(made, monkeypatch, caplog):
    _, fast = made(LOOK)
    monkeypatch.setattr(type(fast.stages[0].runner.session), "not_capturable", "it allocates in a run")
    fast.run(frames(ALL))
    assert fast.run(frames(ALL)).complete
    assert [r.event["reason"] for r in caplog.records if "no graph" in r.message] == ["it allocates in a run"]


def test_in_the_steady_state_nothing_is_allocated(made):
    _, fast = made(LOOK, FIND, WITHIN)
    device = fast.stages[0].runner._device
    for one in (TWO, TWO, ALL, ALL):
        fast.run(frames(one))
    before = device.allocations
    for one in (TWO, ALL, NONE, TWO):
        fast.run(frames(one))
    assert device.allocations == before


def test_pictures_of_many_shapes_take_memory_for_the_first_ones_only(made, caplog):
    plain, fast = made(OUTLINE)
    for rows in range(5, 14):
        one = picture(np.s_[2:4, 2:4], shape=(rows, 6))
        same(fast.run(frames(one)), plain.run(frames(one)))
    assert sum("by the host" in r.message for r in caplog.records) == 3


def test_a_device_without_memory_for_a_shape_leaves_it_to_the_host(made, monkeypatch, caplog):
    plain, fast = made(OUTLINE)

    def full(self, shape, dtype):
        raise OutOfDeviceMemory("cuMemAlloc", "CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(HostDevice, "empty", full)
    same(fast.run(frames(TWO)), plain.run(frames(TWO)))
    assert [r.event["reason"] for r in caplog.records if "by the host" in r.message] == [
        "cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY"
    ]


def test_a_stage_that_cannot_be_read_fails_alone(made, monkeypatch):
    _, fast = made(LOOK, OUTLINE)

    def impossible(results, placement):
        raise InferenceFailed("not finite")

    monkeypatch.setattr(fast.stages[0].on_device.decoding, "read", impossible)
    for _ in range(3):
        found = fast.run(frames(ALL))
        assert [r.outcome for r in found.stages] == [StageOutcome.FAILED, StageOutcome.RAN]
        assert found.findings[0].answer is Answer.NOT_EVALUATED or found.findings[-1].answer is Answer.NOT_EVALUATED
        assert found.masks[0].voxels.all()


def test_a_stage_whose_parameters_are_impossible_fails_alone_and_is_not_launched(made, monkeypatch):
    _, fast = made(LOOK, OUTLINE)

    def impossible(*_):
        raise InferenceFailed("no contrast")

    monkeypatch.setattr(fast.stages[0].on_device.preparation, "place", impossible)
    found = fast.run(frames(ALL))
    assert [(r.outcome, r.reason) for r in found.stages] == [
        (StageOutcome.FAILED, "no contrast"),
        (StageOutcome.RAN, ""),
    ]


def test_a_library_that_fails_takes_all_that_was_asked_with_it_and_the_next_picture_is_whole(made, monkeypatch):
    _, fast = made(LOOK, OUTLINE)
    session = fast.stages[1].runner.session
    enqueue = session.enqueue

    def broken(bindings, stream):
        def work():
            raise InferenceFailed("the library failed")

        stream.submit(work)

    monkeypatch.setattr(session, "enqueue", broken)
    assert [r.outcome for r in fast.run(frames(ALL)).stages] == [StageOutcome.FAILED] * 2
    monkeypatch.setattr(session, "enqueue", enqueue)
    for _ in range(3):
        assert fast.run(frames(ALL)).complete


def test_with_time_for_one_stage_only_the_next_is_left_out_after_the_wait(made):
    optional = config.Stage("outline", "segment", optional=True)
    _, fast = made(LOOK, optional)
    fast.estimates.expect("outline", 0, 100.0)
    fast.estimates.expect("look", 0, 0.001)
    found = fast.run(frames(ALL), 5.0)
    assert [r.outcome for r in found.stages] == [StageOutcome.RAN, StageOutcome.SKIPPED]


def test_a_picture_without_time_is_given_up_before_the_device_sees_it(made):
    _, fast = made(LOOK, OUTLINE)
    with pytest.raises(FrameDropped):
        fast.run(frames(ALL), -1.0, droppable=True)


def test_a_cheaper_variant_runs_on_the_device_too(made):
    plain, fast = made(config.Stage("look", "classify", cheaper=(config.Cheaper("cheap"),)), OUTLINE)
    fast.estimates.expect("look", 0, 100.0)
    fast.estimates.expect("look", 1, 0.0001)
    found = fast.run(frames(ALL), 5.0)
    assert [r.engine.name for r in found.stages] == ["cheap", "segment"]
    assert found.findings == plain.run(frames(ALL)).findings


def test_the_stages_seconds_are_the_time_from_the_call_to_the_answers(made):
    _, fast = made(LOOK, FIND, OUTLINE)
    found = fast.run(frames(TWO))
    assert all(r.seconds > 0 for r in found.stages)
    assert [r.waited_seconds for r in found.stages] == [0.0] * 3


def test_a_picture_that_finds_no_memory_is_prepared_and_read_by_the_host(made, monkeypatch):
    """And so are those of its shape after it, without asking the device again."""
    plain, fast = made(FIND, WITHIN)
    fast.run(frames(ALL))
    asked = []

    def full(self, shape, dtype):
        asked.append(shape)
        raise OutOfDeviceMemory("cuMemAlloc", "CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(HostDevice, "empty", full)
    for _ in range(3):
        same(fast.run(frames(TWO)), plain.run(frames(TWO)))
    assert len(asked) == 1
