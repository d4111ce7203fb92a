"""A small site for tests of the whole daemon: an engine that finds what is bright, and a CT with a ball."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydicom.dataset import Dataset
from support.dicom_objects import ct_series, save_series

from benchmarks.daemon import Daemon

SIDE = 24
BALL_HU = 400
PATIENT_NAME, PATIENT_ID = "Zzyzx^Quentin", "PID-7788"

CARD = """
name: bright
version: "1"
task: segmentation
intended_use: Tests only. Finds what is brighter than 200 HU.
checkpoint: {{format: onnx, path: bright.onnx, sha256: {sha256}, license: Apache-2.0}}
input: {{name: image, kind: volume, shape: [1, 1, 24, 24, 24]}}
preprocess:
  - orient: RAS
  - resize: {{shape: [24, 24, 24], method: nearest-exact}}
  - window: {{range: [0, 400]}}
output: {{name: probability, shape: [1, 1, 24, 24, 24]}}
labels:
  - name: ball
    channel: 0
    threshold: 0.5
    concept: {{value: "4147007", scheme: SCT, meaning: Mass}}
    category: {{value: "49755003", scheme: SCT, meaning: Morphologically Abnormal Structure}}
tolerance: 0.001
"""


def bright_network(layers: int = 0) -> bytes:
    """ONNX: sigmoid(40 (x - 0.5)); `layers` convolutions that add nothing make it slower."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, 1, SIDE, SIDE, SIDE]
    constants = {"half": np.float32(0.5), "steep": np.float32(40.0), "nothing": np.float32(0.0)}
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    nodes = [helper.make_node("Sub", ["image", "half"], ["d"]), helper.make_node("Mul", ["d", "steep"], ["logit"])]
    last = "logit"
    if layers:
        wide = numpy_helper.from_array(np.full((48, 1, 3, 3, 3), 1e-3, np.float32), "wide")
        deep = numpy_helper.from_array(np.full((48, 48, 3, 3, 3), 1e-3, np.float32), "deep")
        thin = numpy_helper.from_array(np.full((1, 48, 1, 1, 1), 1e-3, np.float32), "thin")
        initializers += [wide, deep, thin]
        nodes.append(helper.make_node("Conv", ["image", "wide"], ["c0"], pads=[1] * 6))
        nodes += [helper.make_node("Conv", [f"c{i}", "deep"], [f"c{i + 1}"], pads=[1] * 6) for i in range(layers)]
        nodes.append(helper.make_node("Conv", [f"c{layers}", "thin"], ["t"]))
        nodes.append(helper.make_node("Mul", ["t", "nothing"], ["z"]))
        nodes.append(helper.make_node("Add", ["logit", "z"], ["sum"]))
        last = "sum"
    nodes.append(helper.make_node("Sigmoid", [last], ["probability"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "bright", [value("image", TensorProto.FLOAT, shape)], [value("probability", TensorProto.FLOAT, shape)],
        initializers,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def build_engine(engines: Path, layers: int = 0, name: str = "bright") -> Path:
    """An engines folder with one engine more, built by the converter."""
    from converters.cli import main

    folder = engines / name
    folder.mkdir(parents=True)
    network = bright_network(layers)
    (folder / "bright.onnx").write_bytes(network)
    card = CARD.format(sha256=hashlib.sha256(network).hexdigest()).replace("name: bright", f"name: {name}")
    (folder / "model.yaml").write_text(card)
    options = ["--target", "onnxruntime", "--precision", "fp32", "--output", str(folder / "onnxruntime-fp32")]
    assert main(["build", str(folder), *options]) == 0
    return engines


def write_config(path: Path, engines: Path, destinations: Sequence[dict[str, Any]], **pipeline: Any) -> Path:
    """A configuration with one pipeline `find-ball` for CT."""
    stages = [{"name": "find", "engine": "bright"}]
    document = {
        "spool": {"path": "/nonexistent", "reserve_bytes": 0},
        "engines": {"path": str(engines), "allow_unsigned": True},
        "pipelines": [
            {
                "name": "find-ball", "match": {"modality": "CT"}, "complete_after_seconds": 0.5, "stages": stages,
                "send_to": [d["name"] for d in destinations], **pipeline,
            }
        ],
        "destinations": list(destinations),
    }  # fmt: skip
    path.write_text(yaml.safe_dump(document))
    return path


def ball_series(name: str, slices: int = 8, **attributes: Any) -> list[Dataset]:
    """A CT series of air with a bright ball in the middle."""
    z, y, x = np.mgrid[0:slices, 0:32, 0:32]
    inside = ((z - slices / 2) * 2) ** 2 + (y - 16) ** 2 + (x - 16) ** 2 < 49
    hounsfield = np.where(inside, BALL_HU, -1000)
    identity = {"PatientName": PATIENT_NAME, "PatientID": PATIENT_ID, "AccessionNumber": "ACC-4711"}
    return ct_series(hounsfield, name=name, spacing_mm=(2.0, 1.0, 1.0), **{**identity, **attributes})


def send(folder: Path, port: int, *options: str, timeout: float = 60.0) -> subprocess.CompletedProcess[bytes]:
    """Send a folder with DCMTK's storescu."""
    command = ["storescu", "-aet", "CT01", "-aec", "EDGE", *options, "+sd", "127.0.0.1", str(port), str(folder)]
    return subprocess.run(command, capture_output=True, timeout=timeout, check=False)


def send_series(series: Sequence[Dataset], folder: Path, daemon: Daemon) -> None:
    """Store a series in a folder and send it; every instance must be acknowledged with Success."""
    save_series(series, folder)
    sent = send(folder, daemon.dicom_port)
    assert sent.returncode == 0, sent.stderr.decode()
