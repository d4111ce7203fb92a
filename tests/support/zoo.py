"""The networks that users have, each with a card, a checkpoint, and samples to calibrate and to measure on.

Weights are random but for the head, which is trained for seconds on discs and rings (see `zoo_training`): task metrics
then say what a conversion does to a network that works, and nothing of how good such a network can be.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from support.scenes import Scene, make_scenes, write_scenes
from support.zoo_training import (
    classification_loss,
    segmentation_loss,
    settle,
    sharpen,
    train_heads,
    yolov5_loss,
    yolov8_loss,
)
from torch import nn

LABEL = "disc"
LOSS_ALLOWED = 0.1
"""How much lower than FP32's the gate lets a task metric be."""

_CONCEPT = {"value": "4147007", "scheme": "SCT", "meaning": "Mass"}
_CATEGORY = {"value": "49755003", "scheme": "SCT", "meaning": "Morphologically Abnormal Structure"}
_CALIBRATION, _HOLDOUT = 8, 16
_HOLDOUT_SEED = 10_000
_LOSSES = {
    "classes": classification_loss,
    "mask": segmentation_loss,
    "yolov5": yolov5_loss,
    "yolov8": yolov8_loss,
}
_TRAINING = {"classes": (40, 40), "mask": (6, 12), "yolov5": (24, 60), "yolov8": (60, 80)}  # scenes, steps
_METRIC = {"classification": "auc", "detection": "map_50", "segmentation": "dice_mean"}


@dataclass(frozen=True)
class Network:
    """A network of the zoo. `heads`: the paths of the modules that are trained.

    `published`: how many parameters the literature gives it, with `published_arguments`. The slowest are exported by
    tracing, the others by torch.export.
    """

    task: str
    callable: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    output: tuple[int, ...]
    decode: Mapping[str, Any]
    loss: str
    heads: tuple[str, ...]
    published: int | None = None
    published_arguments: Mapping[str, Any] = field(default_factory=dict)
    exporter: str = "export"

    @property
    def spatial(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def tolerance(self) -> float:
        """The card's: of boxes in pixels, of all else a probability."""
        return 0.05 if self.task == "detection" else 0.001

    def make(self, **changes: Any) -> nn.Module:
        """The network with random weights, the same ones each time."""
        module, name = self.callable.split(":")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network: nn.Module = getattr(importlib.import_module(module), name)(**{**self.arguments, **changes})
        return network.eval()


_NETS = "monai.networks.nets:"
_EFFICIENT = {"pretrained": False, "in_channels": 3, "num_classes": 1}
_ONE_OF_TWO, _ONE = {"activation": "softmax"}, {"activation": "sigmoid"}
_FIVE, _EIGHT = ({"layout": layout, "overlap": 0.1} for layout in ("yolov5", "yolov8"))
_FINEST = ("model.22.cv2.0.2", "model.22.cv3.0.2")

NETWORKS: Mapping[str, Network] = {
    "resnet18": Network(
        "classification", _NETS + "resnet18",
        {"spatial_dims": 2, "n_input_channels": 3, "num_classes": 2, "conv1_t_stride": 2, "bias_downsample": False},
        (1, 3, 224, 224), (1, 2), _ONE_OF_TWO, "classes", ("fc",),
        11_689_512, {"num_classes": 1000},
    ),
    "efficientnet-b0": Network(
        "classification", _NETS + "EfficientNetBN", {"model_name": "efficientnet-b0", **_EFFICIENT},
        (1, 3, 160, 160), (1, 1), _ONE, "classes", ("_fc",), 5_288_548, {"num_classes": 1000}, "trace",
    ),
    "efficientnet-b3": Network(
        "classification", _NETS + "EfficientNetBN", {"model_name": "efficientnet-b3", **_EFFICIENT},
        (1, 3, 160, 160), (1, 1), _ONE, "classes", ("_fc",), 12_233_232, {"num_classes": 1000}, "trace",
    ),
    "efficientnet-b0-3d": Network(
        "classification", _NETS + "EfficientNetBN",
        {"model_name": "efficientnet-b0", **_EFFICIENT, "in_channels": 1, "spatial_dims": 3},
        (1, 1, 64, 64, 64), (1, 1), _ONE, "classes", ("_fc",), exporter="trace",
    ),
    "yolov5m": Network(
        "detection", "converters.architectures.yolo:yolov5", {"variant": "m", "classes": 1},
        (1, 3, 160, 160), (1, 1575, 6), _FIVE, "yolov5", ("model.24.m.0",), 21_190_557, {"classes": 80}, "trace",
    ),
    "yolov8n": Network(
        "detection", "converters.architectures.yolo:yolov8", {"variant": "n", "classes": 1},
        (1, 3, 160, 160), (1, 5, 525), _EIGHT, "yolov8", _FINEST, 3_157_200, {"classes": 80},
    ),
    "yolov8-3d": Network(
        "detection", "converters.architectures.yolo:yolov8",
        {"variant": "n", "classes": 1, "channels": 1, "dimensions": 3},
        (1, 1, 64, 64, 64), (1, 7, 584), _EIGHT, "yolov8", _FINEST, exporter="trace",
    ),
    "unet-2d": Network(
        "segmentation", _NETS + "UNet",
        {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": [16, 32, 64, 128], "strides": [2, 2, 2],
         "num_res_units": 2, "norm": "BATCH"},
        (1, 1, 128, 128), (1, 1, 128, 128), _ONE, "mask", ("model.2",),
    ),
    "unet-3d": Network(
        "segmentation", _NETS + "UNet",
        {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [8, 16, 32, 64], "strides": [2, 2, 2],
         "num_res_units": 2},
        (1, 1, 64, 64, 64), (1, 2, 64, 64, 64), _ONE_OF_TWO, "mask", ("model.2",),
    ),
}  # fmt: skip


def write_network(name: str, engines: Path) -> Path:
    """Train the network's head and write card, checkpoint and samples into `engines`/name; returns that folder."""
    network, folder = NETWORKS[name], engines / name
    count, steps = _TRAINING[network.loss]
    training = make_scenes(network.task, network.spatial, range(count))
    holdout = make_scenes(network.task, network.spatial, range(_HOLDOUT_SEED, _HOLDOUT_SEED + _HOLDOUT))
    write_scenes(folder / "calibration", network.task, LABEL, training)
    write_scenes(folder / "holdout", network.task, LABEL, holdout)
    module = _trained(network, training, steps)
    torch.save(module.state_dict(), folder / "model.pt")
    sha256 = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    (folder / "model.yaml").write_text(yaml.safe_dump(card(name, sha256), sort_keys=False))
    return folder


def _trained(network: Network, scenes: list[Scene], steps: int) -> nn.Module:
    """On one core: its tensors are small, and on a busy machine two threads wait for each other more than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        module, images = network.make(), prepared(network, scenes)
        sharpen(module)
        settle(module, images)
        train_heads(
            module, [module.get_submodule(path) for path in network.heads], images, _LOSSES[network.loss](scenes), steps
        )
    finally:
        torch.set_num_threads(threads)
    return module


def prepared(network: Network, scenes: list[Scene]) -> torch.Tensor:
    """The scenes as the card's recipe makes them: 0..1, three equal channels where the network takes three."""
    stack = torch.from_numpy(np.stack([scene.pixels for scene in scenes])).float()[:, None] / 255
    return stack.expand(-1, network.shape[1], *network.spatial).contiguous()


def card(name: str, sha256: str) -> dict[str, Any]:
    """The card's document."""
    network = NETWORKS[name]
    volume = len(network.spatial) == 3
    steps: list[Any] = [{"orient": "SPL"}] if volume else []
    steps += [{"resize": {"shape": list(network.spatial), "method": "linear"}}, {"window": {"range": [0.0, 255.0]}}]
    steps += [{"colour": "rgb"}] if network.shape[1] == 3 else []
    label = {"name": LABEL, "channel": int(network.output[1] == 2), "threshold": 0.5, "concept": _CONCEPT}
    if network.task == "segmentation":
        label["category"] = _CATEGORY
    return {
        "name": name,
        "version": "1",
        "task": network.task,
        "intended_use": "Tests only: random weights under a head that tells discs from rings.",
        "checkpoint": {
            "format": "state_dict",
            "path": "model.pt",
            "sha256": sha256,
            "license": "Apache-2.0",
            "architecture": {"callable": network.callable, "arguments": dict(network.arguments)},
            "exporter": network.exporter,
        },
        "input": {"name": "image", "kind": "volume" if volume else "frame", "shape": list(network.shape)},
        "preprocess": steps,
        "output": {"name": "output", "shape": list(network.output)},
        "decode": dict(network.decode),
        "labels": [label],
        "tolerance": network.tolerance,
        "calibration": {"path": "calibration", "count": _CALIBRATION},
        "holdout": {"path": "holdout"},
        "gate": [{"metric": _METRIC[network.task], "tolerance": LOSS_ALLOWED, "at_least": 0.3}],
    }
