"""TensorRT and TensorRT-RTX: a plan for the device that builds it, or ahead of time for RTX cards."""

from __future__ import annotations

import platform

from converters.progress import Progress
from converters.targets.base import Built, Options
from converters.targets.gpu import Gpu, first_gpu, jetpack
from converters.targets.interrupt import interrupts_held
from converters.targets.listening import Said, make_logger, make_monitor
from converters.targets.tensorrt_config import compute_capabilities, configure, save_timing_cache
from converters.targets.tensorrt_network import make_builder, parse
from edge_runtime.backends.tensorrt_api import Api, load_api
from edge_runtime.engines.passport import Target
from edge_runtime.errors import ConfigurationError, EngineRejected

ENGINE_FILE = "engine.plan"


def check(name: str, options: Options) -> None:
    """See `check_target`. `name` is that of the library."""
    api = load_api(name)
    compute_capabilities(api, options)
    for flag, given, can in (
        ("--workspace-bytes", options.workspace_bytes, api.workspace_limit),
        ("--optimization-level", options.optimization_level, api.optimization_level),
        ("--timing-cache", options.timing_cache, api.timing_cache),
        ("--dla-core", options.dla_core, api.dla),
    ):
        if given is not None and not can:
            raise ConfigurationError(f"{api.package} does not know what {flag} asks for; leave it out")
    if options.timing_cache is not None and not options.timing_cache.resolve().parent.is_dir():
        raise ConfigurationError(f"--timing-cache {options.timing_cache}: its folder does not exist")
    if name == "tensorrt":
        _check_device(api, options.dla_core)


def _check_device(api: Api, dla_core: int | None) -> None:
    said = Said()
    logger = make_logger(api.module, said)
    builder = make_builder(api, logger, said)
    cores = builder.num_DLA_cores if api.dla else 0
    if dla_core is not None and dla_core >= cores:
        raise ConfigurationError(f"--dla-core {dla_core}: {api.package} finds {cores} on this device")


def build(name: str, network: bytes, options: Options, progress: Progress) -> Built:
    """See `build_target`."""
    api = load_api(name)
    if api.note is not None:
        progress.say(f"note: {api.note}")
    capabilities = compute_capabilities(api, options)
    said = Said()
    with interrupts_held() as interrupted:
        parsed = parse(api, network, said)
        builder = parsed.builder
        config, told = configure(api, builder, capabilities, options, progress)
        config.progress_monitor = make_monitor(api.module, progress, interrupted)
        plan = builder.build_serialized_network(parsed.network, config)
    for warning in said.some_warnings():
        progress.say(f"{api.name} warns: {warning}")
    if plan is None:
        raise EngineRejected(f"{api.package} cannot build this network: {said.reason()}")
    if options.timing_cache is not None:
        save_timing_cache(config, options.timing_cache)
    gpu = first_gpu()
    target = _target(api, gpu, capabilities, options)
    # What is measured of an engine here is measured with ONNX Runtime: that would be no figure of a plan.
    return Built(bytes(plan), ENGINE_FILE, target, told, (api.package,), runs_here=False)


def _target(api: Api, gpu: Gpu | None, capabilities: tuple[str, ...], options: Options) -> Target:
    """What the plan is bound to. NVIDIA documents RTX plans as portable between systems, and says no more."""
    if api.name == "tensorrt_rtx":
        return Target(
            flavour=api.name,
            flavour_version=api.version,
            architecture=platform.machine(),
            compute_capabilities=capabilities,
        )
    return Target(
        flavour=api.name,
        flavour_version=api.version,
        operating_system=platform.system(),
        architecture=platform.machine(),
        compute_capabilities=() if gpu is None else (gpu.compute_capability,),
        device_name=None if gpu is None else gpu.name,
        integrated=None if gpu is None else gpu.integrated,
        jetpack=jetpack(),
        dla=options.dla_core is not None,
    )
