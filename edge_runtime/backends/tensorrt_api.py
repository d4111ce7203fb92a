"""TensorRT's Python API, 10.3 to 11.x, and TensorRT-RTX, 1.x: what is installed, and what it can.

Everything that differs between versions is asked here, once, by name: no other file compares versions.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_runtime.errors import BackendUnavailable

RUNTIME_NAMES: Mapping[str, tuple[str, ...]] = {
    "": ("ErrorCodeTRT", "ExecutionContextAllocationStrategy", "IErrorRecorder", "ILogger", "IProfiler", "Runtime",
         "TensorIOMode", "TensorLocation", "nptype"),
    "ErrorCodeTRT": ("UNSPECIFIED_ERROR",),
    "ExecutionContextAllocationStrategy": ("USER_MANAGED",),
    "ILogger": ("ERROR", "INFO", "WARNING"),
    "Runtime": ("deserialize_cuda_engine", "engine_host_code_allowed", "error_recorder"),
    "ICudaEngine": ("create_execution_context", "device_memory_size_v2", "get_tensor_dtype", "get_tensor_location",
                    "get_tensor_mode", "get_tensor_name", "get_tensor_profile_shape", "get_tensor_shape",
                    "num_aux_streams", "num_io_tensors", "num_optimization_profiles"),
    "IExecutionContext": ("device_memory", "execute_async_v3", "get_tensor_shape", "infer_shapes", "profiler",
                          "set_aux_streams", "set_input_shape", "set_optimization_profile_async",
                          "set_tensor_address"),
    "TensorIOMode": ("INPUT", "OUTPUT"),
    "TensorLocation": ("DEVICE",),
}  # fmt: skip
"""What loads and runs an engine, by class, the module's own under ""; in every version that is taken."""

BUILDER_NAMES: Mapping[str, tuple[str, ...]] = {
    "": ("Builder", "BuilderFlag", "DeviceType", "ILogger", "IProgressMonitor", "MemoryPoolType",
         "NetworkDefinitionCreationFlag", "OnnxParser"),
    "Builder": ("build_serialized_network", "create_builder_config", "create_network"),
    "BuilderFlag": ("GPU_FALLBACK",),
    "DeviceType": ("DLA",),
    "IBuilderConfig": ("default_device_type", "max_aux_streams", "progress_monitor", "set_flag"),
    "ILogger": ("ERROR", "WARNING"),
    "INetworkDefinition": ("get_input", "num_inputs", "num_outputs"),
    "ITensor": ("name", "shape"),
    "MemoryPoolType": ("WORKSPACE",),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "OnnxParser": ("get_error", "num_errors", "parse"),
    "ParserError": ("desc", "node_name", "node_operator"),
}  # fmt: skip
"""What builds an engine, by class; in every version that is taken."""

PROBED: Mapping[str, tuple[str, ...]] = {
    "runtime_config": ("ICudaEngine.create_runtime_config",
                       "IRuntimeConfig.set_execution_context_allocation_strategy"),
    "sized_device_memory": ("IExecutionContext.set_device_memory",),
    "stream_capturable": ("IExecutionContext.is_stream_capturable",),
    "kernel_specialization": ("IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
                              "DynamicShapesKernelSpecializationStrategy.EAGER"),
    "cuda_graph_strategy": ("IRuntimeConfig.cuda_graph_strategy", "CudaGraphStrategy.DISABLED"),
    "runtime_cache": ("IRuntimeConfig.create_runtime_cache", "IRuntimeConfig.set_runtime_cache",
                      "IRuntimeCache.deserialize", "IRuntimeCache.serialize"),
    "engine_stat": ("ICudaEngine.get_engine_stat",),
    "engine_inspector": ("ICudaEngine.create_engine_inspector",),
    "engine_validity": ("Runtime.get_engine_validity",),
    "timing_cache": ("IBuilderConfig.create_timing_cache", "IBuilderConfig.set_timing_cache",
                     "IBuilderConfig.get_timing_cache", "ITimingCache.serialize"),
    "editable_timing_cache": ("BuilderFlag.EDITABLE_TIMING_CACHE",),
    "compute_capabilities": ("ComputeCapability", "IBuilderConfig.num_compute_capabilities",
                             "IBuilderConfig.set_compute_capability"),
    "workspace_limit": ("IBuilderConfig.set_memory_pool_limit",),
    "optimization_level": ("IBuilderConfig.builder_optimization_level",),
    "dla": ("Builder.num_DLA_cores", "IBuilderConfig.DLA_core"),
    "version_compatible": ("BuilderFlag.VERSION_COMPATIBLE",),
    "hardware_compatibility": ("IBuilderConfig.hardware_compatibility_level", "HardwareCompatibilityLevel"),
}  # fmt: skip
"""What only some versions have: each capability is there where all of its names are."""

_NAMED_AND_USELESS = {"tensorrt_rtx": ("timing_cache", "editable_timing_cache", "version_compatible", "dla",
                                       "hardware_compatibility")}  # fmt: skip
"""TensorRT-RTX has these names, but its timing cache asks for a GPU, and the others fail a build or do nothing."""

_OLDEST = {"tensorrt": (10, 3), "tensorrt_rtx": (1, 0)}
_NEWEST_MAJOR = {"tensorrt": 11, "tensorrt_rtx": 1}
_INSTALL = {
    "tensorrt": "TensorRT comes with JetPack 6.1 or newer (apt install python3-libnvinfer, and a virtual environment "
    "with --system-site-packages) or, for a card, as pip install tensorrt; it builds only on the device that the "
    "engine is for",
    "tensorrt_rtx": "run: pip install 'edge-runtime[tensorrt-rtx]'",
}
_NEEDED = {
    "tensorrt": "10.3 or newer is needed: JetPack 6.1 (Orin), JetPack 7 (Orin and Thor) or, for IGX and Clara, its "
    "release with TensorRT 10 or 11 has it; 8.x is JetPack 5 or IGX 1.0",
    "tensorrt_rtx": "1.0 or newer is needed; run: pip install 'edge-runtime[tensorrt-rtx]'",
}


@dataclass(frozen=True)
class Api:
    """An imported library, `tensorrt` or `tensorrt_rtx`. The flags say what it can; see PROBED for their names."""

    module: Any
    name: str  # tensorrt | tensorrt_rtx: also the flavour of a passport
    version: str
    numbers: tuple[int, ...]  # of the version
    note: str | None  # for the user: the version is newer than those that were tried
    runtime_config: bool
    sized_device_memory: bool
    stream_capturable: bool
    kernel_specialization: bool
    cuda_graph_strategy: bool
    runtime_cache: bool
    engine_stat: bool
    engine_inspector: bool
    engine_validity: bool
    timing_cache: bool
    editable_timing_cache: bool
    compute_capabilities: bool
    workspace_limit: bool
    optimization_level: bool
    dla: bool
    version_compatible: bool
    hardware_compatibility: bool

    @property
    def package(self) -> str:
        """Name and version, as a passport lists what built it."""
        return f"{self.name} {self.version}"


def load_api(name: str) -> Api:
    """Import `tensorrt` or `tensorrt_rtx` and ask what it can. Touches no device.

    Raises:
        BackendUnavailable: it is missing, does not import, or is too old.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise BackendUnavailable(f"{name} is installed and does not import: {error}; install it again") from error
        raise BackendUnavailable(f"{name} is not installed; {_INSTALL[name]}") from error
    except (ImportError, OSError) as error:
        raise BackendUnavailable(f"{name} is installed and does not import: {error}; install it again") from error
    return describe(module, name)


def describe(module: Any, name: str) -> Api:
    """The module as an `Api`.

    Raises:
        BackendUnavailable: its version is too old or none.
    """
    version = str(getattr(module, "__version__", ""))
    numbers = tuple(int(n) for n in re.findall(r"\d+", version))
    if len(numbers) < 2 or numbers[:2] < _OLDEST[name]:
        raise BackendUnavailable(f"{name} {version or 'without a version'} is installed; {_NEEDED[name]}")
    newest = _NEWEST_MAJOR[name]
    note = f"{name} {version} is newer than {newest}.x, the newest that was tried" if numbers[0] > newest else None
    useless = _NAMED_AND_USELESS.get(name, ())
    can = {what: what not in useless and all(has(module, n) for n in names) for what, names in PROBED.items()}
    return Api(module, name, version, numbers, note, **can)


def has(module: Any, path: str) -> bool:
    """Whether the module has a name such as `ICudaEngine.create_runtime_config`. Constructs nothing."""
    found = module
    for step in path.split("."):
        if not hasattr(found, step):
            return False
        found = getattr(found, step)
    return True


def missing_names(module: Any, names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Those of RUNTIME_NAMES or BUILDER_NAMES that a module has not."""
    paths = [f"{owner}.{name}".lstrip(".") for owner, members in names.items() for name in members]
    return tuple(path for path in paths if not has(module, path))
