"""ONNX Runtime with a CUDA provider that computes on the processor, in host functions of an emulated driver's streams.

It takes the provider's options as the real one does: an unknown name or value is refused.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_REAL = onnxruntime.InferenceSession
_OPTIONS = {
    "device_id", "user_compute_stream", "gpu_mem_limit", "arena_extend_strategy", "cudnn_conv_algo_search",
    "do_copy_in_default_stream", "use_tf32",
}  # fmt: skip
"""Of those that onnxruntime-gpu 1.31's library names."""


_LEFT = ("[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the default CPU EP, "
         "but fallback to CPU EP has been explicitly disabled by the user.")  # fmt: skip


@dataclass
class Told:
    """What the library was told, and what it is to do."""

    options: list[dict[str, str]] = field(default_factory=list)
    left_to_the_processor: tuple[str, ...] = ()  # types of operators that the provider has not
    falls_back: bool = False  # the provider's libraries do not load
    refuses: str = ""  # why no session can be made
    factor: float = 1.0  # what its answers are wrong by
    fails: str = ""  # the next run


class Session:
    """InferenceSession, of one stream."""

    told = Told()

    def __init__(self, network: bytes, options: Any = None, providers: Any = (), **more: Any) -> None:
        self._real = _REAL(network, _quiet(), providers=[CPU])
        self._providers = [CPU]
        first = providers[0]
        if isinstance(first, str):
            return
        told, entry = self.told, options.get_session_config_entry
        unknown = set(first[1]) - _OPTIONS
        assert not unknown, f"[ONNXRuntimeError] : 1 : FAIL : Unknown provider option: {unknown}"
        told.options.append(first[1])
        if told.refuses:
            raise RuntimeError(told.refuses)
        left = [node for node in self._nodes(network) if node in told.left_to_the_processor]
        if left and entry("session.disable_cpu_ep_fallback") == "1":
            assert more == {"enable_fallback": False} and len(providers) == 1
            raise RuntimeError(_LEFT)
        if not told.falls_back:
            self._providers = [CUDA, CPU]
        self._stream = int(first[1].get("user_compute_stream", "0"))

    def _nodes(self, network: bytes) -> list[str]:
        return [name for name in self.told.left_to_the_processor if name.encode() in network]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get_providers(self) -> list[str]:
        return self._providers

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding, options: Any) -> None:
        told = self.told
        assert options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
        if told.fails:
            said, told.fails = told.fails, ""
            raise RuntimeError(said)

        def work() -> None:
            answers = self._real.run(list(binding.outputs), binding.inputs)
            for array, answer in zip(binding.outputs.values(), answers, strict=True):
                array[...] = answer * answer.dtype.type(told.factor)

        from edge_runtime.device.host_functions import launch

        launch(self._stream, work)


def _quiet() -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return options


class Binding:
    """IOBinding, of memory of the device."""

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    def bind_input(self, name: str, device: str, _number: int, dtype: Any, shape: Any, address: int) -> None:
        assert device == "cuda"
        self.inputs[name] = _array(dtype, shape, address)

    def bind_output(self, name: str, device: str, _number: int, dtype: Any, shape: Any, address: int) -> None:
        assert device == "cuda"
        self.outputs[name] = _array(dtype, shape, address)


def _array(dtype: Any, shape: tuple[int, ...], address: int) -> Any:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


def session_class(told: Told) -> type:
    """InferenceSession for a test that wants to know what the library is told."""
    return type("InferenceSession", (Session,), {"told": told})


def providers() -> list[str]:
    """get_available_providers."""
    return [CUDA, CPU]
