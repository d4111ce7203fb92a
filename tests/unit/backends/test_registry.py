"""What runs engines is chosen by what is installed, what the driver says and what was built; and it says why."""

import logging
import sys
from pathlib import Path

import pytest

from edge_runtime.backends import registry
from edge_runtime.config import Cuda, Engines
from edge_runtime.device.probe import Driver
from edge_runtime.errors import BackendUnavailable

HERE = Driver((13, 0), ("Emulated GPU",))
NONE = "libcuda.so.1 cannot be loaded; no NVIDIA driver is installed on this machine"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with these packages, this driver, ONNX Runtime's provider or not, and engines built for targets."""

    def make(packages=("onnxruntime",), driver=NONE, provider=False, **engines):
        monkeypatch.setattr(registry, "available", lambda name: name in packages)
        monkeypatch.setattr(registry, "asked", lambda *_: driver)
        monkeypatch.setattr(registry, "_no_provider", lambda: None if provider else registry._CPU_ONLY)
        for name, targets in engines.items():
            for target in targets:
                folder = tmp_path / name / f"{target}-fp16"
                folder.mkdir(parents=True)
                (folder / "passport.json").touch()
        return str(tmp_path)

    return make


ALL = ("onnxruntime", "tensorrt", "tensorrt_rtx", "cuda.bindings")


@pytest.mark.parametrize(
    ("given", "engines", "expected", "because"),
    [
        ({}, {}, ("onnxruntime", "cpu"), "tensorrt and tensorrt_rtx not installed; libcuda.so.1 cannot be loaded"),
        ({"packages": ALL, "driver": HERE, "a": ["tensorrt"]}, {}, ("tensorrt", "cuda"), "every engine"),
        ({"packages": ALL, "driver": HERE, "a": ["tensorrt-rtx"]}, {}, ("tensorrt_rtx", "cuda"), "every"),
        ({"packages": ALL, "driver": HERE, "provider": True, "a": ["tensorrt"], "b": ["onnxruntime"]}, {},
         ("onnxruntime", "cuda"), "not built for tensorrt: b; not built for tensorrt_rtx: a, b; onnxruntime has its"),
        ({"packages": ALL, "driver": HERE, "a": ["onnxruntime"]}, {}, ("onnxruntime", "cpu"), "for processors"),
        ({"packages": ALL, "driver": HERE, "provider": True}, {"device": "cpu"}, ("onnxruntime", "cpu"), "cpu"),
        ({"packages": ALL, "driver": HERE, "provider": True, "a": ["tensorrt"]}, {"backend": "onnxruntime"},
         ("onnxruntime", "cuda"), "has its CUDA provider"),
        ({"packages": ALL, "driver": HERE, "a": ["onnxruntime"]}, {"backend": "tensorrt"},
         ("tensorrt", "cuda"), ""),
        ({"packages": ALL, "driver": HERE, "a": ["tensorrt"]}, {"backend": "tensorrt_rtx"},
         ("tensorrt_rtx", "cuda"), ""),
        ({"packages": ALL, "driver": NONE, "provider": True}, {}, ("onnxruntime", "cpu"), "no NVIDIA driver"),
    ],
)  # fmt: skip
def test_the_choice_follows_from_machine_engines_and_configuration(machine, given, engines, expected, because):
    choice = registry.choose(Engines(path=machine(**given), **engines))
    assert (choice.flavour, choice.device) == expected
    assert because in "; ".join(choice.reasons)
    assert choice.target == expected[0].replace("_", "-")


@pytest.mark.parametrize(
    ("given", "engines", "message"),
    [
        ({"packages": ALL}, {"backend": "tensorrt"}, "engines.backend is tensorrt: libcuda.so.1 cannot"),
        ({}, {"backend": "tensorrt"}, "tensorrt and tensorrt_rtx not installed; JetPack 6.1 or newer brings TensorRT"),
        ({}, {"backend": "tensorrt_rtx"}, r"run: pip install 'edge-runtime\[tensorrt-rtx\]'"),
        ({}, {"device": "cuda"}, "engines.device is cuda: .*no NVIDIA driver"),
        ({"packages": ALL, "driver": HERE}, {"device": "cuda"}, "build for processors; see docs/gpu.md"),
        ({"packages": ()}, {}, "onnxruntime is not installed; run: pip install edge-runtime"),
        ({"packages": ALL, "driver": HERE, "provider": True}, {"device": "cuda", "cuda": Cuda(ordinal=2)},
         "engines.cuda.ordinal is 2, the driver has 1 devices"),
        ({"packages": ("onnxruntime",), "driver": HERE, "provider": True}, {"device": "cuda"},
         r"no Python binding of the CUDA driver is installed .*edge-runtime\[cuda13\]"),
        ({"packages": ALL, "driver": HERE, "provider": True}, {"device": "cuda", "cuda": Cuda(binding="pycuda")},
         "no Python binding"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_with_the_reason_and_what_to_do(machine, given, engines, message):
    with pytest.raises(BackendUnavailable, match=message) as refused:
        registry.choose(Engines(path=machine(**given), **engines))
    assert refused.value.exit_code == 69


def test_one_line_in_the_log_says_what_runs_where_and_why(machine, caplog):
    with caplog.at_level(logging.INFO):
        registry.load_device(Engines(path=machine())).close()
    (line,) = [record for record in caplog.records if record.name == "edge_runtime.backends"]
    assert line.event["backend"] == "onnxruntime" and line.event["device"] == "cpu"
    assert "no NVIDIA driver" in line.event["because"]


def test_the_package_with_the_cuda_provider_is_told_from_the_one_without(monkeypatch):
    assert registry._no_provider() == registry._CPU_ONLY
    stand_in = Path(__file__).parents[2] / "support" / "fake_onnxruntime_module"
    monkeypatch.syspath_prepend(stand_in)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert registry._no_provider() is None


def test_what_is_compiled_is_kept_in_the_engines_folder_where_it_can_be_written(tmp_path, monkeypatch):
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    assert registry.cache_folder(Engines(path=str(tmp_path))) == tmp_path / ".cache"
    assert registry.cache_folder(Engines(cuda=Cuda(cache="/c"))) == Path("/c")
    monkeypatch.setattr(registry.os, "access", lambda *_: False)
    assert registry.cache_folder(Engines(path=str(tmp_path))) is None
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/edge-runtime")
    assert registry.cache_folder(Engines(path=str(tmp_path))) == Path("/var/cache/edge-runtime")
    assert registry.cache_folder(Engines(cuda=Cuda(cache="/c"))) == Path("/c")
