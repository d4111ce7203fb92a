"""A card for the tiny PyTorch networks, checkpoints of every format, and a pickle that means harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
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


def renamed(archive: bytes, old: str, new: str) -> bytes:
    """A ZIP archive whose members have `new` in their names in place of `old`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(stream, "w") as after:
        for name in before.namelist():
            after.writestr(name.replace(old, new), before.read(name))
    return stream.getvalue()


def read_in_two_ways(for_torch: bytes, for_python: bytes) -> bytes:
    """One file that torch reads as the first archive and Python as the second; both have as many members.

    The record at the end says where the list of members begins. torch believes it; Python reads what stands just
    before the record, and takes the difference for a program that stands before the archive.
    """
    first, second = renamed(for_torch, "", ""), renamed(for_python, "", "")
    (body, entries), (other_body, other_entries) = _list_of_members(first), _list_of_members(second)
    body += bytes(len(other_body))  # so that no place becomes negative
    length = max(len(entries), len(other_entries))
    entries, other = _padded(entries, length), bytearray(_padded(other_entries, length))
    begin = len(body) + length  # of the second archive in the file
    shift = begin + len(other_body) - len(body)  # what Python adds to every place
    place = 0
    while place < length:
        (offset,) = struct.unpack_from("<I", other, place + 42)
        struct.pack_into("<I", other, place + 42, begin + offset - shift)
        place += 46 + sum(struct.unpack_from("<HHH", other, place + 28))
    count = len(zipfile.ZipFile(io.BytesIO(first)).namelist())
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, length, len(body), 0)
    return body + entries + other_body + bytes(other) + end


def _list_of_members(archive: bytes) -> tuple[bytes, bytes]:
    size, offset = struct.unpack_from("<II", archive, archive.rindex(b"PK\5\6") + 12)
    return archive[:offset], archive[offset : offset + size]


def _padded(entries: bytes, length: int) -> bytes:
    """The list of members, made longer by a comment of the last."""
    place = last = 0
    while place < len(entries):
        last, place = place, place + 46 + sum(struct.unpack_from("<HHH", entries, place + 28))
    (comment,) = struct.unpack_from("<H", entries, last + 32)
    missing = length - len(entries)
    return entries[: last + 32] + struct.pack("<H", comment + missing) + entries[last + 34 :] + b" " * missing


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
