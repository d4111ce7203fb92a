"""A runner survives a failed run, and takes no network that is not its card's."""

from types import SimpleNamespace

import numpy as np
import pytest
from support.models import build_engine, card, classifier, lookup, segmenter

from edge_runtime.backends.registry import load_backend
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
    return EngineRunner(described, load_backend("onnxruntime").load(lookup(), device), device)


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

    def view(self, buffer):
        return None


def test_a_device_that_shares_no_memory_gives_the_same():
    device = Copying(threads=1)
    described = SimpleNamespace(name="tiny", input=Tensor("x", (1, 1)), output=Tensor("y", (1, 1)))
    assert (
        EngineRunner(described, load_backend("onnxruntime").load(lookup(), device), device).run(number(2)).item() == 7
    )
    device.close()


def test_a_network_whose_tensors_are_not_the_cards_is_rejected(tmp_path, device):
    shape = (1, 1, 4, 4, 4)
    folder = build_engine(tmp_path, card("segmentation", shape), segmenter(shape))
    engine = verify(folder, (), allow_unsigned=True)
    backend = load_backend("onnxruntime")
    load_runner(engine, backend, device).close()
    for other, message in ((classifier(shape), "outputs are"), (segmenter((1, 1, 2, 2, 2)), "inputs are")):
        wrong = type(engine)(**{**vars(engine), "data": other})
        with pytest.raises(EngineRejected, match=f"engine tiny: its {message}"):
            load_runner(wrong, backend, device)
    with pytest.raises(EngineRejected, match="engine tiny: ONNX Runtime"):
        load_runner(type(engine)(**{**vars(engine), "data": b"no engine"}), backend, device)
