"""A runner survives a failed run, and takes no network that is not its card's."""

import contextlib
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from support.models import build_engine, card, classifier, lookup, segmenter

from edge_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edge_runtime.device.host import HostDevice
from edge_runtime.engines.card import Tensor
from edge_runtime.engines.runner import EngineRunner, load_runner
from edge_runtime.engines.verify import verify
from edge_runtime.errors import EngineError, EngineRejected, InferenceFailed


@pytest.fixture
def device():
    device = HostDevice(threads=1)
    yield device
    device.close()


@pytest.fixture
def runner(device):
    described = SimpleNamespace(name="tiny", input=Tensor("x", (1, 1)), output=Tensor("y", (1, 1)))
    return EngineRunner(described, OnnxRuntimeBackend().load(lookup(), device), device)


def number(value):
    return np.array([[value]], np.float32)


def test_a_run_after_a_failed_one_gives_its_own_answer(runner):
    assert runner.run(number(1)).item() == 6
    with pytest.raises(InferenceFailed):
        runner.run(number(99))
    assert runner.run(number(2)).item() == 7
    assert runner.engine_seconds > 0


def test_an_input_that_does_not_fit_is_refused(runner):
    with pytest.raises(EngineError, match="cannot copy"):
        runner.run(np.zeros((1, 2), np.float32))


def test_a_closed_runner_runs_nothing_and_closes_twice(runner):
    runner.close()
    runner.close()
    with pytest.raises(EngineError, match="closed"):
        runner.run(number(1))


class Copying(HostDevice):
    """A host that shares no memory with its buffers, as a graphics card does not."""

    def __init__(self, threads=0):
        super().__init__(threads)
        self.abilities = dataclasses.replace(self.abilities, shared_memory=False)

    def view(self, buffer):
        return None


def test_a_device_that_shares_no_memory_gives_the_same():
    device = Copying(threads=1)
    described = SimpleNamespace(name="tiny", input=Tensor("x", (1, 1)), output=Tensor("y", (1, 1)))
    assert EngineRunner(described, OnnxRuntimeBackend().load(lookup(), device), device).run(number(2)).item() == 7
    device.close()


@pytest.fixture(params=[HostDevice, Copying], ids=["shared", "copied"])
def either(request):
    device = request.param(threads=1)
    described = SimpleNamespace(name="tiny", input=Tensor("x", (1, 1)), output=Tensor("y", (1, 1)))
    yield EngineRunner(described, OnnxRuntimeBackend().load(lookup(), device), device)
    device.close()


@pytest.mark.parametrize("inputs", [[], [0], [2, 1], [0, 1, 2, 2, 1, 0, 1]])
def test_each_input_gets_its_own_output_in_order(either, inputs):
    assert [out.item() for out in either.run_each(number(n) for n in inputs)] == [5 + n for n in inputs]


def test_the_next_input_is_prepared_while_the_network_runs_where_memory_is_copied():
    device, order = Copying(threads=1), []

    @contextlib.contextmanager
    def turn():
        order.append("turn begins")
        yield 0.0
        order.append("turn ends")

    def inputs():
        for n in (0, 1):
            order.append(f"prepare {n}")
            yield number(n)

    described = SimpleNamespace(name="tiny", input=Tensor("x", (1, 1)), output=Tensor("y", (1, 1)))
    runner = EngineRunner(described, OnnxRuntimeBackend().load(lookup(), device), device, turn)
    order.extend(f"read {out.item():g}" for out in runner.run_each(inputs()))
    assert order == [
        "prepare 0",
        "turn begins",
        "prepare 1",
        "turn ends",
        "turn begins",
        "read 5",
        "turn ends",
        "read 6",
    ]
    device.close()


def test_a_failed_run_ends_the_row_and_the_next_row_is_whole(either):
    outputs = either.run_each(number(n) for n in (1, 99, 2))
    with pytest.raises(InferenceFailed):
        list(outputs)
    assert [out.item() for out in either.run_each(number(n) for n in (2, 1))] == [7, 6]


def test_who_asks_for_no_more_outputs_leaves_the_runner_whole(either):
    for _ in range(3):
        assert next(either.run_each(number(n) for n in (0, 1, 2))).item() == 5
    assert [out.item() for out in either.run_each(number(n) for n in (2, 1, 0))] == [7, 6, 5]


def test_an_input_may_be_made_on_the_device(either):
    def fill(value):
        return lambda buffer, stream: stream.submit(lambda: buffer.array.fill(value))

    assert [out.item() for out in either.run_each(fill(n) for n in (2, 0, 1))] == [7, 5, 6]


def test_a_network_whose_tensors_are_not_the_cards_is_rejected(tmp_path, device):
    shape = (1, 1, 4, 4, 4)
    folder = build_engine(tmp_path, card("segmentation", shape), segmenter(shape))
    engine = verify(folder, (), allow_unsigned=True)
    backend = OnnxRuntimeBackend()
    load_runner(engine, backend, device).close()
    for other, message in ((classifier(shape), "outputs are"), (segmenter((1, 1, 2, 2, 2)), "inputs are")):
        wrong = type(engine)(**{**vars(engine), "data": other})
        with pytest.raises(EngineRejected, match=f"engine tiny: its {message}"):
            load_runner(wrong, backend, device)
    with pytest.raises(EngineRejected, match="engine tiny: ONNX Runtime"):
        load_runner(type(engine)(**{**vars(engine), "data": b"no engine"}), backend, device)
