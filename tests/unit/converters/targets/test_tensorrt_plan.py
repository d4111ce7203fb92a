"""TensorRT builds on its device, with one code for all its versions; a fake stands for the device here."""

import os
import signal
import sys
from itertools import count
from pathlib import Path

import pytest
from support.fake_tensorrt import Told, fake

from converters.progress import Progress
from converters.targets import Options, build_target, check_target, tensorrt_plan
from converters.targets.gpu import Gpu
from converters.targets.listening import Said, make_logger, make_monitor
from edge_runtime.errors import BackendUnavailable, ConfigurationError, EngineRejected

ORIN = Gpu("Orin", "8.7", integrated=True)
V10_3 = ("ICudaEngine.create_runtime_config", "IRuntimeConfig", "ComputeCapability",
         "IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability")  # fmt: skip


@pytest.fixture
def told(monkeypatch):
    """A Jetson with TensorRT 10.3 that does what the test wants."""
    told = Told()
    monkeypatch.setattr(tensorrt_plan, "first_gpu", lambda: ORIN)
    monkeypatch.setattr(tensorrt_plan, "jetpack", lambda: "6.2+b77")
    monkeypatch.setitem(sys.modules, "tensorrt", fake("10.3.0", told, V10_3))
    return told


def build(options=None, said=None):
    return build_target("tensorrt", b"onnx", options or Options(), Progress((said if said is not None else []).append))


@pytest.mark.parametrize(
    ("version", "without"), [("10.3.0", V10_3), ("10.13.3.9", ()), ("11.4.0.106", V10_3[2:]), ("12.0.1", ())]
)
def test_every_version_builds_strongly_typed_on_one_stream_for_the_device_it_is_on(told, monkeypatch, version, without):
    monkeypatch.setitem(sys.modules, "tensorrt", fake(version, told, without))
    said = []
    built = build(said=said)
    assert (built.engine, built.file, built.packages) == (b"plan", "engine.plan", (f"tensorrt {version}",))
    target = built.target
    assert (target.flavour, target.flavour_version, target.compute_capabilities) == ("tensorrt", version, ("8.7",))
    assert (target.device_name, target.integrated, target.jetpack, target.dla) == ("Orin", True, "6.2+b77", False)
    assert built.options == ("strongly_typed", "max_aux_streams=0")
    assert told.flags == 1 << 1 and told.config.max_aux_streams == 0 and told.config.capabilities == {}
    assert any("newer than 11.x" in line for line in said) == version.startswith("12")


def test_without_a_gpu_that_tells_what_it_is_nothing_is_made_up(told, monkeypatch):
    monkeypatch.setattr(tensorrt_plan, "first_gpu", lambda: None)
    monkeypatch.setattr(tensorrt_plan, "jetpack", lambda: None)
    built = build()
    assert (built.target.compute_capabilities, built.target.device_name, built.target.integrated) == ((), None, None)
    assert built.target.jetpack is None and not built.runs_here


def test_options_reach_the_builder_and_the_passport(told):
    told.dla_cores = 2
    built = build(Options(workspace_bytes=1 << 28, optimization_level=5, dla_core=1))
    assert told.config.pools == {"WORKSPACE": 1 << 28} and told.config.builder_optimization_level == 5
    assert (told.config.default_device_type, told.config.DLA_core, told.config.flags) == ("DLA", 1, ["GPU_FALLBACK"])
    assert built.target.dla
    assert built.options[2:] == ("workspace_bytes=268435456", "builder_optimization_level=5", "dla_core=1")


def test_an_accelerator_that_the_device_has_not_is_refused_before_any_work(told):
    with pytest.raises(ConfigurationError, match=r"--dla-core 0: tensorrt 10.3.0 finds 0 on this device"):
        check_target("tensorrt", Options(dla_core=0))
    told.dla_cores = 2
    with pytest.raises(ConfigurationError, match=r"--dla-core 2: .* finds 2"):
        check_target("tensorrt", Options(dla_core=2))


@pytest.mark.parametrize(
    ("options", "without", "flag"),
    [
        (Options(workspace_bytes=1), "IBuilderConfig.set_memory_pool_limit", "--workspace-bytes"),
        (Options(optimization_level=1), "IBuilderConfig.builder_optimization_level", "--optimization-level"),
        (Options(timing_cache=Path("cache")), "IBuilderConfig.create_timing_cache", "--timing-cache"),
        (Options(dla_core=0), "Builder.num_DLA_cores", "--dla-core"),
    ],
)
def test_an_option_that_a_version_has_not_is_named(told, monkeypatch, options, without, flag):
    monkeypatch.setitem(sys.modules, "tensorrt", fake("11.4.0", told, (without,)))
    with pytest.raises(ConfigurationError, match=f"tensorrt 11.4.0 does not know what {flag} asks for; leave it out"):
        check_target("tensorrt", options)


def test_a_timing_cache_is_made_and_used_again(told, tmp_path):
    cache, said = tmp_path / "orin.cache", []
    built = build(Options(timing_cache=cache))
    assert "timing_cache" in built.options
    assert cache.read_bytes() == b"+measured"
    build(Options(timing_cache=cache), said)
    assert cache.read_bytes() == b"+measured+measured" and any("9 bytes of earlier builds" in line for line in said)
    assert list(tmp_path.iterdir()) == [cache]


def test_a_timing_cache_of_another_device_is_made_anew(told, tmp_path):
    cache, said = tmp_path / "orin.cache", []
    cache.write_bytes(b"thor")
    told.foreign_cache = True
    build(Options(timing_cache=cache), said)
    assert cache.read_bytes() == b"+measured"
    assert any("is of another device or version" in line for line in said)


def test_a_timing_cache_in_a_folder_that_is_not_there_is_told_before_any_work(told, tmp_path):
    with pytest.raises(ConfigurationError, match="its folder does not exist"):
        check_target("tensorrt", Options(timing_cache=tmp_path / "absent" / "cache"))


def test_a_machine_without_a_device_says_so_before_any_work(told):
    told.device = False
    with pytest.raises(BackendUnavailable, match=r"cannot build on this machine: CUDA init.* built on the device"):
        check_target("tensorrt", Options())


def test_an_old_version_is_refused_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", fake("8.6.2.3"))
    with pytest.raises(BackendUnavailable, match=r"tensorrt 8.6.2.3 is installed; 10.3 or newer is needed"):
        check_target("tensorrt", Options())


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (("Frobnicate", "layer1/frob", 'creator && "Plugin not found, is the name correct?"'),
         "operator Frobnicate of node 'layer1/frob': Plugin not found, is the name correct\\?; replace it by standard"),
        (("Det", "", "false"), r"operator Det \(a node without a name\): it has no such operator; replace it"),
        (("NonMaxSuppression", "nms", "Assertion failed: a::b(c): no dynamic output. Stop."),
         "operator NonMaxSuppression of node 'nms': no dynamic output. Stop.; leave it out of the network"),
        (("", "", "Assertion failed: model->Parse(&in): Failed to parse the ONNX model."),
         "Failed to parse the ONNX model.; is the file whole"),
    ],
)  # fmt: skip
def test_what_the_parser_does_not_take_is_named_with_what_to_do(told, problem, message):
    told.problem = problem
    with pytest.raises(EngineRejected, match=f"tensorrt 10.3.0 does not take this network: {message}"):
        build()


def test_a_network_whose_shapes_vary_is_refused(told):
    told.shapes = ((-1, 1, 4, 4),)
    with pytest.raises(EngineRejected, match=r"input 'input0' has the shape \(-1, 1, 4, 4\); engines have"):
        build()


def test_a_network_without_an_output_is_refused(told):
    told.outputs = 0
    with pytest.raises(EngineRejected, match="it has no output"):
        build()


def test_uint8_that_the_parser_would_compute_as_int8_is_refused(told):
    told.says = (("WARNING", "supports QuantizeLinear with UINT8 zero_point only on DLA. Defaulting to INT8"),)
    with pytest.raises(EngineRejected, match="uint8 quantization, which tensorrt would compute as int8"):
        build()


def test_warnings_are_shown_once_and_a_few(told):
    told.says = (*(("WARNING", f"odd {n % 7}") for n in range(20)), ("INFO", "fine"))
    said = []
    build(said=said)
    assert said[-6:] == [*(f"tensorrt warns: odd {n}" for n in range(5)), "tensorrt warns: and 2 more"]


def test_a_build_that_fails_gives_the_librarys_reason(told):
    told.plan = None
    told.says = (("ERROR", "Error Code 9:\n  no implementation for node conv1"),)
    with pytest.raises(EngineRejected, match=r"cannot build this network: Error Code 9: no implementation for"):
        build()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_build_at_its_next_step_and_nothing_is_kept(told, monkeypatch, tmp_path, number):
    before = signal.getsignal(signal.SIGINT)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    told.steps = 1000

    class Calls(list):
        def append(self, call):
            super().append(call)
            if call == "step 2":
                os.kill(os.getpid(), number)

    told.calls = Calls()
    try:
        with pytest.raises(KeyboardInterrupt):
            build(Options(timing_cache=tmp_path / "cache"))
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert 3 <= len(told.calls) < 10
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_is_not_lost_where_the_build_fails_too(told):
    told.problem = ("Det", "", "false")
    told.says = (("INFO", "reading"),)

    class Interrupting(tuple):
        def __iter__(self):
            os.kill(os.getpid(), signal.SIGINT)
            return super().__iter__()

    told.says = Interrupting(told.says)
    with pytest.raises(KeyboardInterrupt):
        build()


def test_a_long_phase_says_how_far_it_is():
    trt, said = fake("11.4"), []
    ticks = count(0, 0.5)
    monitor = make_monitor(trt, Progress(said.append), lambda: False, lambda: next(ticks))
    monitor.phase_start("Timing graph nodes", "Building engine", 40)
    assert all(monitor.step_complete("Timing graph nodes", step) for step in range(8))
    monitor.step_complete("Unknown phase", 1)
    monitor.phase_finish("Timing graph nodes")
    assert said == ["timing graph nodes: 3 of 40, about 20 s left", "timing graph nodes: 7 of 40, about 20 s left"]


def test_the_logger_keeps_what_matters_and_prints_nothing(capfd):
    said = Said()
    logger = make_logger(fake("11.4"), said)
    for severity in range(4):
        logger.log(severity, f"message\n {severity}")
    assert list(said.errors) == ["message 0", "message 1"] and list(said.warnings) == ["message 2"]
    assert capfd.readouterr() == ("", "")
