"""Backends are chosen by name, and what is missing is said plainly."""

import sys

import pytest

from edge_runtime.backends import registry
from edge_runtime.errors import BackendUnavailable


def test_auto_takes_the_first_installed_backend():
    assert registry.choose("auto") == "onnxruntime"
    assert registry.load_backend("onnxruntime").name == "onnxruntime"


def test_a_backend_that_this_version_has_not_is_named_and_never_pretended():
    with pytest.raises(BackendUnavailable, match="no TensorRT backend"):
        registry.choose("tensorrt")


def test_an_unknown_backend_is_named_with_those_that_exist():
    with pytest.raises(BackendUnavailable, match="no backend 'cuda'; there are: onnxruntime"):
        registry.load_backend("cuda")


def entry(module, package):
    return {"sample": registry.Entry(f"{module}:Sample", "x:y", package, "pip install sample")}


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, tmp_path):
    (tmp_path / "needs_absent.py").write_text("import absent_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "BACKENDS", entry("needs_absent", "absent_package"))
    with pytest.raises(BackendUnavailable, match=r"needs the package absent_package.*run: pip install sample"):
        registry.load_backend("sample")
    with pytest.raises(BackendUnavailable, match="no backend is installed"):
        registry.choose("auto")


def test_an_import_error_inside_the_package_is_raised_as_it_is(monkeypatch, tmp_path):
    (tmp_path / "half_broken.py").write_text("import something_it_forgot\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "BACKENDS", entry("half_broken", "half_broken"))
    with pytest.raises(ModuleNotFoundError, match="something_it_forgot"):
        registry.load_backend("sample")
    sys.modules.pop("half_broken", None)
