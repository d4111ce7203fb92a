"""MONAI bundles: a ZIP archive with `configs/inference.json|yaml` and `models/model.pt`, or `models/model.ts`.

A bundle's configuration may run any Python (`$` expressions, `_target_` of any name). Taken from it is the network's
definition alone, of plain values, references to plain values, and classes of monai.networks.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import yaml

from converters.checkpoints.archives import check_members
from converters.checkpoints.base import Loaded, Source, first_line, quiet, require
from converters.checkpoints.kinds import kind_of
from converters.checkpoints.state_dict import read, with_weights
from converters.checkpoints.torchscript import load_archive
from edge_runtime.errors import EngineRejected

_CONFIGS = ("inference.json", "inference.yaml", "inference.yml", "train.json", "train.yaml", "train.yml")
_NETWORKS, _PLACE = "monai.networks.", "network_def"
_DOWNLOADS = "pretrained"  # of a constructor: weights from the network, which the bundle's own replace


def load(source: Source) -> Loaded:
    """The bundle's network with its weights; a TorchScript in it where its definition cannot be taken.

    Raises:
        BackendUnavailable: torch or monai is missing.
        EngineRejected: it is no bundle or damaged, its definition runs code (names the place), or its weights do not
            fit.
    """
    kind, words = kind_of(source.data)
    if kind not in ("monai_bundle", "zip"):
        raise source.rejected(f"is no MONAI bundle: it is {words}")
    members = _members(source, words)
    script = members.get("models/model.ts")
    try:
        return _from_definition(source, members)
    except EngineRejected as error:
        if script is None:
            raise
        loaded = load_archive(source, script)
        note = f"took models/model.ts of the bundle, because its definition cannot be used: {error}"
        return Loaded(module=loaded.module, exporter=loaded.exporter, notes=(note, *loaded.notes))


def _members(source: Source, words: str) -> dict[str, bytes]:
    """The members that matter by their path in the bundle, which may lie in a folder of the archive."""
    found: dict[str, bytes] = {}
    wanted = ("models/model.pt", "models/model.ts", *(f"configs/{name}" for name in _CONFIGS))
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            check_members(source, archive.infolist(), len(source.data))
            for name in archive.namelist():
                path = "/".join(name.split("/")[-2:])
                if path in wanted:
                    found[path] = archive.read(name)
    except EngineRejected:
        raise
    except Exception as error:
        raise source.rejected(f"is {words}, cut off or damaged: {first_line(error)}") from error
    return found


def _from_definition(source: Source, members: Mapping[str, bytes]) -> Loaded:
    name = next((f"configs/{c}" for c in _CONFIGS if f"configs/{c}" in members), None)
    if name is None or "models/model.pt" not in members:
        raise source.rejected("is no MONAI bundle: it has no configs/inference.json (or yaml) with models/model.pt")
    config = _parsed(source, name, members[name])
    place = next((p for p in (_PLACE, "network") if p in config), None)
    if place is None:
        raise source.rejected(f"is a MONAI bundle whose {name} has no {_PLACE}")
    require("monai", "monai")
    checked = _Checked(source, name, config)
    checked.take(config[place], place)
    content = read(source, members["models/model.pt"])
    network = _instantiated(source, place, {place: config[place], **checked.referred})
    return with_weights(source, network, content)


def _parsed(source: Source, name: str, data: bytes) -> dict[str, Any]:
    try:
        config = json.loads(data) if name.endswith(".json") else yaml.safe_load(data)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise source.rejected(f"is a MONAI bundle whose {name} cannot be read: {first_line(error)}") from error
    if not isinstance(config, dict):
        raise source.rejected(f"is a MONAI bundle whose {name} is no mapping")
    return config


class _Checked:
    """Walks a definition before MONAI sees it. `referred` gathers what it refers to, by top key."""

    def __init__(self, source: Source, file: str, config: Mapping[str, Any]) -> None:
        self.source, self.file, self.config = source, file, config
        self.referred: dict[str, Any] = {}

    def take(self, value: Any, place: str) -> None:
        if isinstance(value, dict):
            self._component(value, place)
            for key, item in value.items():
                self.take(item, f"{place}::{key}")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.take(item, f"{place}::{index}")
        elif isinstance(value, str):
            self._text(value, place)

    def _component(self, value: dict[str, Any], place: str) -> None:
        """A mapping; `_target_` becomes the full name of a class, and no download is asked for."""
        for key in value:
            if str(key).startswith("_") and key not in ("_target_", "_desc_"):
                raise self._refused(f"{place}::{key}", f"is {key}, which may run code")
        if value.get(_DOWNLOADS) is True:
            value[_DOWNLOADS] = False
        if "_target_" in value:
            value["_target_"] = self._class(str(value["_target_"]), f"{place}::_target_")

    def _class(self, target: str, place: str) -> str:
        torch, parent, name = require("torch", "torch"), *(target.rpartition(".")[::2])
        if parent and not f"{parent}.".startswith(_NETWORKS):
            raise self._refused(place, f"asks for {target}, which is not of monai.networks")
        try:
            found = getattr(require(parent or "monai.networks.nets", "monai"), name)
        except Exception as error:
            raise self._refused(place, f"asks for {target}, which cannot be had: {first_line(error)}") from error
        known = isinstance(found, type) and issubclass(found, torch.nn.Module)
        if not known or not found.__module__.startswith(_NETWORKS):
            raise self._refused(place, f"asks for {target}, which is no network of monai.networks")
        return f"{found.__module__}.{found.__qualname__}"

    def _text(self, text: str, place: str) -> None:
        if text.startswith("$"):
            raise self._refused(place, f"is the expression {text!r}, which runs code")
        if text.startswith("%"):
            raise self._refused(place, f"is the macro {text!r}, which reads other files")
        if text.startswith("@"):
            key = text[1:].replace("#", "::").split("::", maxsplit=1)[0]
            if key not in self.config:
                raise self._refused(place, f"refers to {text!r}, which is not there")
            if key not in self.referred:
                self.referred[key] = self.config[key]
                self.take(self.config[key], key)

    def _refused(self, place: str, why: str) -> EngineRejected:
        return self.source.rejected(
            f"is a MONAI bundle in whose {self.file} {place} {why}. Write the plain value there, or make a TorchScript "
            "with `python -m monai.bundle ckpt_export` and describe it as format: torchscript"
        )


def _instantiated(source: Source, place: str, config: dict[str, Any]) -> Any:
    torch, bundle = require("torch", "torch"), require("monai.bundle", "monai")
    try:
        with quiet():
            network = bundle.ConfigParser(config).get_parsed_content(place, instantiate=True)
    except Exception as error:
        raise source.rejected(f"is a MONAI bundle whose {place} gives no network: {first_line(error)}") from error
    if not isinstance(network, torch.nn.Module):
        raise source.rejected(f"is a MONAI bundle whose {place} is a {type(network).__name__}, not a network")
    return network
