"""Execution contexts of a TensorRT plan: with memory of ours, the shapes of the card, and no graphs of their own.

`trt`, `engine`, `context` and `runtime_config` are the library's objects; the names that are asked of them stand in
`tensorrt_api`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_runtime.backends.base import TensorInfo
from edge_runtime.backends.tensorrt_cache import KernelCache
from edge_runtime.backends.tensorrt_plan import Plan, refused
from edge_runtime.device.base import Buffer, Device
from edge_runtime.errors import EngineRejected

ALIGNMENT = 256
"""Of a context's device memory, in bytes."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """What the sessions of an engine share."""

    plan: Plan
    device: Device
    kernels: KernelCache | None


def make_context(loaded: Loaded, scratch: Buffer | None) -> Any:
    """A context with the profile and the shapes of the plan, and with memory of ours.

    Raises:
        EngineRejected: the library makes none.
        OutOfDeviceMemory: it has not the memory for what it keeps itself.
    """
    plan = loaded.plan
    api, engine = plan.api, plan.engine
    trt = api.module
    if api.runtime_config:
        context = engine.create_execution_context(_runtime_config(loaded))
    else:
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    if context is None:
        raise refused(api, plan.words, "create_execution_context", "makes no execution context of this engine")
    if scratch is not None:
        address = -(-scratch.address // ALIGNMENT) * ALIGNMENT
        if api.sized_device_memory:
            context.set_device_memory(address, plan.scratch_bytes)
        else:
            context.device_memory = address
    if plan.open_inputs:
        _set_shapes(plan, context, loaded.device)
    return context


def _runtime_config(loaded: Loaded) -> Any:
    """Memory is ours, graphs are ours, and kernels are compiled before the first run."""
    plan = loaded.plan
    api, engine = plan.api, plan.engine
    trt = api.module
    runtime_config = engine.create_runtime_config()
    runtime_config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    if api.cuda_graph_strategy:
        runtime_config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED
    if api.kernel_specialization:
        runtime_config.dynamic_shapes_kernel_specialization_strategy = (
            trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
    if loaded.kernels is not None:
        loaded.kernels.give(api, runtime_config)
    return runtime_config


def _set_shapes(plan: Plan, context: Any, device: Device) -> None:
    stream = device.stream()
    try:
        if not context.set_optimization_profile_async(plan.profile, stream.handle):
            raise EngineRejected(f"{plan.api.package} does not take profile {plan.profile}: {plan.words.take()}")
        stream.synchronize()
    finally:
        stream.close()
    for info in plan.inputs:
        if info.name in plan.open_inputs and not context.set_input_shape(info.name, info.shape):
            raise EngineRejected(f"{plan.api.package} does not take {info.shape} for tensor {info.name!r}: "
                                 f"{plan.words.take()}")  # fmt: skip
    if missing := context.infer_shapes():
        raise EngineRejected(f"the shape of tensor {missing[0]!r} depends on what is in it; engines have fixed shapes")


def output_tensors(plan: Plan, context: Any) -> tuple[TensorInfo, ...]:
    """The outputs with the shapes that follow from those of the inputs. Raises EngineRejected where none follow."""
    found = tuple(TensorInfo(t.name, tuple(context.get_tensor_shape(t.name)), t.dtype) for t in plan.outputs)
    for info in found:
        if min(info.shape, default=1) < 1:
            raise EngineRejected(f"tensor {info.name!r} has the shape {info.shape}; engines have fixed shapes")
    return found
