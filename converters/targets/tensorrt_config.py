"""What TensorRT's builder is told. Every choice is also text, for the passport.

`trt`, `builder`, `config` and `cache` are the library's objects; see `tensorrt_network`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.progress import Progress
from converters.targets.base import Options
from edge_runtime.backends.tensorrt_api import Api
from edge_runtime.errors import ConfigurationError

RTX_COMPUTE_CAPABILITIES = ("8.6", "8.9", "12.0")
"""Where none is named: the Ampere, Ada and Blackwell cards of workstations, IGX and Clara."""

_ON_THE_DEVICE = "build it there with --target tensorrt"
_ELSEWHERE = {
    "8.7": f"8.7 is Jetson Orin: {_ON_THE_DEVICE}",
    "9.0": f"9.0 is Hopper: {_ON_THE_DEVICE}",
    "10.0": f"10.0 is a data-centre Blackwell: {_ON_THE_DEVICE}",
    "11.0": f"11.0 is Jetson Thor: {_ON_THE_DEVICE}",
}


def compute_capabilities(api: Api, options: Options) -> tuple[str, ...]:
    """Those that a TensorRT-RTX engine is for, each once, in order; none for TensorRT, which builds for its device.

    Raises:
        ConfigurationError: the library serves one of them not; says which target does.
    """
    if api.name != "tensorrt_rtx":
        return ()
    wanted = options.compute_capabilities or RTX_COMPUTE_CAPABILITIES
    if not api.compute_capabilities:
        raise ConfigurationError(f"{api.package} cannot build for cards that are not in this machine; install a newer")
    served = sorted((name for name in api.module.ComputeCapability.__members__ if name.startswith("SM")), key=_number)
    for one in wanted:
        if _member(one) not in served:
            known = ", ".join(f"{name[2:-1]}.{name[-1]}" for name in served)
            hint = _ELSEWHERE.get(one, f"--sm {one} is none of those")
            raise ConfigurationError(f"{api.package} builds for compute capabilities {known}; {hint}")
    return tuple(sorted(set(wanted), key=lambda one: _number(_member(one))))


def _member(compute_capability: str) -> str:
    return "SM" + compute_capability.replace(".", "")


def _number(member: str) -> int:
    return int(member[2:])


def configure(api: Api, builder: Any, capabilities: Sequence[str], options: Options,
              progress: Progress) -> tuple[Any, tuple[str, ...]]:  # fmt: skip
    """The builder's configuration, and what it was told.

    Raises:
        ConfigurationError: the library did not take an option.
    """
    trt = api.module
    config = builder.create_builder_config()
    config.max_aux_streams = 0  # one stream: the same order of work in every run
    told = ["strongly_typed", "max_aux_streams=0"]
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
        for index, one in enumerate(capabilities):
            if not config.set_compute_capability(getattr(trt.ComputeCapability, _member(one)), index):
                raise ConfigurationError(f"{api.package} did not take --sm {one}")
        told.append(f"sm={','.join(capabilities)}")
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
        told.append(f"workspace_bytes={options.workspace_bytes}")
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
        told.append(f"builder_optimization_level={options.optimization_level}")
    if options.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        told.append(f"dla_core={options.dla_core}")
    if options.timing_cache is not None:
        told.append("timing_cache")
        _load_timing_cache(config, options.timing_cache, progress)
    return config, tuple(told)


def _load_timing_cache(config: Any, file: Path, progress: Progress) -> None:
    """Start from the file's measurements where they are of this device and version, else from none."""
    known = file.read_bytes() if file.is_file() else b""
    cache = config.create_timing_cache(known)
    if cache is not None and config.set_timing_cache(cache, False):
        progress.say(f"timing cache {file}: {len(known)} bytes of earlier builds")
        return
    progress.say(f"timing cache {file} is of another device or version; it is made anew")
    config.set_timing_cache(config.create_timing_cache(b""), False)


def save_timing_cache(config: Any, file: Path) -> None:
    """Replace the file by what is known now, whole or not at all."""
    cache = config.get_timing_cache()
    if cache is None:
        return
    with tempfile.NamedTemporaryFile(dir=file.resolve().parent, prefix=f".{file.name}.", delete=False) as stream:
        try:
            stream.write(bytes(cache.serialize()))
            stream.flush()
            os.fsync(stream.fileno())
            Path(stream.name).replace(file)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(stream.name).unlink()
            raise
