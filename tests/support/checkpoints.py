"""A card for the tiny PyTorch networks, checkpoints of every format, and a pickle that means harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from support import models
from support.tiny_torch import SHAPE, classifier, saved

from edge_runtime.engines.card import Card, read_card

NETWORK = "support.tiny_torch:Classifier"
UNET = {"_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": "@classes", "channels": [2, 4],
        "strides": [2]}  # fmt: skip


def card_of(folder: Path, checkpoint_format: str, callable_: str = NETWORK, **checkpoint: Any) -> Card:
    """Write and read a card of the tiny classifier, or of the UNet for a bundle; `folder` is then its folder."""
    task, steps = "classification", [{"resize": {"shape": list(SHAPE[2:])}}]
    if checkpoint_format == "monai_bundle":
        task = "segmentation"
    document = models.card(task, SHAPE, preprocess=steps)
    document["checkpoint"].update(format=checkpoint_format, **checkpoint)
    if checkpoint_format == "state_dict":
        arguments = document["checkpoint"].pop("arguments", {})
        document["checkpoint"]["architecture"] = {"callable": callable_, "arguments": arguments}
    return read_card(models.write_card(folder, document))[0]


def torchscript(network: Any = None, shape: tuple[int, ...] = SHAPE) -> bytes:
    """A traced network, as torch.jit.save writes it."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated
        torch.jit.save(torch.jit.trace(network or classifier(), torch.zeros(shape)), stream)
    return stream.getvalue()


def exported_program(network: Any = None, batch: int = 1, **options: Any) -> bytes:
    """A network as torch.export.save writes it."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations
        image = torch.zeros((batch, *SHAPE[1:]))
        torch.export.save(torch.export.export(network or classifier(), (image,), **options), stream)
    return stream.getvalue()


def repacked(archive: bytes, changes: dict[str, Any]) -> bytes:
    """A ZIP archive with other members: by the end of a name, bytes, or a function of the old bytes; new ones added."""
    stream, seen = io.BytesIO(), set()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            for end, change in changes.items():
                if name.endswith(end):
                    data = change(data) if callable(change) else change
                    seen.add(end)
            new.writestr(name, data)
        for end in changes.keys() - seen:
            new.writestr(f"archive/{end}", changes[end])
    return stream.getvalue()


def bundle(definition: Any, weights: bytes | None, script: bytes | None = None, **config: Any) -> bytes:
    """A MONAI bundle in a folder of its archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("tiny/configs/inference.json", json.dumps({"network_def": definition, "classes": 2, **config}))
        if weights is not None:
            archive.writestr("tiny/models/model.pt", weights)
        if script is not None:
            archive.writestr("tiny/models/model.ts", script)
    return stream.getvalue()


class Harm:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


def harmful(file: Path) -> dict[str, bytes]:
    """Files that would make `file` if they were trusted, by what they are."""
    harm = Harm(file)
    return {
        **{f"pickle of protocol {p}": pickle.dumps(harm, protocol=p) for p in range(6)},
        "torch.save": saved(harm),
        "torch.save with weights": saved({"state_dict": classifier().state_dict(), "optimizer": harm}),
        "torch.save of protocol 4": saved({"state_dict": classifier().state_dict(), "x": harm}, pickle_protocol=4),
        "torch.save before 1.6": saved([harm], _use_new_zipfile_serialization=False),
    }
