"""A classifier of the size that endoscopy uses today: EfficientNet-B3, its weights random but for the last bias."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import yaml

from benchmarks.record import BenchFailed

EXTENT = 300  # what the family's paper gives B3 (Tan and Le 2019, arXiv:1905.11946)
_ARGUMENTS = {"model_name": "efficientnet-b3", "pretrained": False, "spatial_dims": 2, "in_channels": 3,
              "num_classes": 1}  # fmt: skip
_POSITIVE = 4.0  # logit


def write_classifier(folder: Path) -> None:
    """Put it in the place of a classifier whose card and network are in `folder`. It finds every picture positive.

    Raises:
        BenchFailed: torch or MONAI is missing.
    """
    try:
        import torch
        from monai.networks.nets import EfficientNetBN
    except ImportError as error:
        raise BenchFailed(f"this pipeline needs {error.name}; run: pip install 'edge-runtime[torch,monai]'") from error
    torch.manual_seed(3)
    network = EfficientNetBN(**_ARGUMENTS)
    with torch.no_grad():
        network._fc.weight.mul_(1e-3)
        network._fc.bias.fill_(_POSITIVE)
    card = yaml.safe_load((folder / "model.yaml").read_text())
    shutil.rmtree(folder)
    folder.mkdir()
    checkpoint = folder / "checkpoint.pt"
    torch.save(network.state_dict(), checkpoint)
    card["checkpoint"] = {
        "format": "state_dict",
        "path": checkpoint.name,
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "license": "Apache-2.0",
        "architecture": {"callable": "monai.networks.nets:EfficientNetBN", "arguments": _ARGUMENTS},
    }
    card["input"]["shape"] = [1, 3, EXTENT, EXTENT]
    card["preprocess"] = [{"resize": {"shape": [EXTENT] * 2}} if "resize" in step else step
                          for step in card["preprocess"]]  # fmt: skip
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
