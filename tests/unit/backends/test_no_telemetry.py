"""ONNX Runtime tells nobody what runs here: it leaves no identifier of the device, and sends nothing."""

import os
import subprocess
import sys

import pytest

LOAD = "from {package} import {module}; import onnxruntime; onnxruntime.InferenceSession({network!r})"


def left_by(package, module, home):
    """What is in the home of a process that imported the module and loaded a network."""
    from support.models import double

    home.mkdir()
    code = LOAD.format(package=package, module=module, network=double())
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    subprocess.run([sys.executable, "-c", code], env={**kept, "HOME": str(home)}, check=True, capture_output=True)
    return [path for path in home.rglob("*") if "onnxruntime" in path.name or "deviceid" in path.name]


@pytest.mark.parametrize(
    ("package", "module"),
    [("edge_runtime.backends", "onnxruntime"), ("converters.quantize", "calibrate"), ("benchmarks", "cli")],
)
def test_no_identifier_of_the_device_is_kept(tmp_path, package, module):
    assert left_by(package, module, tmp_path / "home") == []


def test_the_setting_is_not_left_to_the_environment(tmp_path):
    code = "import os, edge_runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    given = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=given, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "1"
