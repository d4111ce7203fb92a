"""Archives of `torch.export.save` (`.pt2`).

torch runs code of such an archive while it reads it: pickles without `weights_only`, shared libraries, and Python made
of the names in its graph. So the archive is looked through before, and torch gets of it what was looked at.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from converters.checkpoints.archives import pack, read_members
from converters.checkpoints.base import Loaded, Source, first_line, quiet, require
from converters.checkpoints.kinds import kind_of
from converters.checkpoints.pickles import load_weights
from converters.checkpoints.weights import check_module

_ARITHMETIC = "getitem|add|sub|mul|truediv|floordiv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_"
_TARGET = re.compile(
    r"torch\.ops\.(?:aten|prims|torchvision)\.(?!from_file|save)\w+\.\w+|torch\.ops\.higher_order\.\w+"
    rf"|_operator\.(?:{_ARITHMETIC})|math\.(?:ceil|floor|trunc)|torch\.sym_\w+|torch\._sym_\w+"
)
_SHAPE = re.compile(
    r"(?:\b(?:Symbol|Integer|Rational|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|IntTrueDiv|Equality"
    r"|Unequality|StrictGreaterThan|GreaterThan|StrictLessThan|LessThan|s\d+|u\d+)\b|'\w+'|\b\w+=(?:True|False)\b"
    r"|\d+|[(),+* -])+"
)
_NAME, _PATH = re.compile(r"\w*"), re.compile(r"[\w.@]*")
_ALLOWED = {  # what stands under a key of the graph; torch makes Python of these
    "target": _TARGET,
    "expr_str": _SHAPE,
    "name": _NAME,
    "forward_arg_names": _NAME,
    "parameter_name": _PATH,
    "buffer_name": _PATH,
    "tensor_constant_name": _PATH,
    "fqn": _PATH,
    "guards_code": re.compile(""),
}
_TOP = r"(?:[^/]+/)?"
_PICKLES = re.compile(
    _TOP + r"(?:data/(?:sample_inputs|weights|constants)/model\.pt|serialized_(?:state_dict|constants)\.(?:json|pt)"
    r"|serialized_example_inputs\.pt)"
)
_GRAPHS = re.compile(_TOP + r"(?:models/model\.json|serialized_exported_program\.json)")
_TENSORS = re.compile(_TOP + r"data/(?:weights/model_weights|constants/model_constants)_config\.json")
_PLAIN = re.compile(
    _TOP + r"(?:data/(?:weights/weight|constants/tensor)_\d+|archive_format|archive_version|version|byteorder"
    r"|\.data/\w+)"
)
_TENSOR = re.compile(r"(?:weight|tensor)_\d+")
_UNREAD = re.compile(_TOP + r"extra(?:_files)?/.*")  # files of the user's
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")


def load(source: Source) -> Loaded:
    """The program's module. Its shapes are fixed to the card's when it is exported.

    Raises:
        BackendUnavailable: torch is missing.
        EngineRejected: it is damaged or no such archive, wants to run code, was exported in training mode, is not
            float32, or a weight is NaN.
    """
    torch = require("torch", "torch")
    kind, words = kind_of(source.data)
    if kind != "pt2":
        raise source.rejected(f"is no torch.export archive: it is {words}")
    archive = _looked_through(source, words)
    try:
        with quiet():
            program = torch.export.load(io.BytesIO(archive))
            module = program.module()
    except Exception as error:
        raise source.rejected(f"is {words}, damaged or of another version of torch: {first_line(error)}") from error
    _check_mode(source, program.graph)
    _check_kinds(source, program.state_dict, torch)
    check_module(source, module)
    return Loaded(module=module)


def _looked_through(source: Source, words: str) -> bytes:
    """The archive with the members that were looked at, and no others."""
    members = read_members(source, source.data, words)
    kept = {name: data for name, data in members.items() if _UNREAD.fullmatch(name) is None}
    try:
        for name, data in kept.items():
            _look_at(source, name, data)
    except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
        raise source.rejected(f"is {words}, cut off or damaged: {first_line(error)}") from error
    return pack(kept)


def _look_at(source: Source, name: str, data: bytes) -> None:
    if "aotinductor/" in name or name.endswith(".so"):
        raise source.rejected(f"wants to run code: its member {name} is compiled. Save it with torch.export.save")
    if _PICKLES.fullmatch(name):
        if data:
            load_weights(source, data)
    elif _TENSORS.fullmatch(name):
        _check_tensors(source, json.loads(data)["config"])
    elif _GRAPHS.fullmatch(name):
        for key, text in _texts(json.loads(data), ""):
            _check_text(source, key, text)
    elif not _PLAIN.fullmatch(name):
        raise source.rejected(f"may want to run code: torch.export.save writes no {name!r}. Nothing was run")


def _check_tensors(source: Source, payloads: Mapping[str, Any]) -> None:
    for name, payload in payloads.items():
        if payload["use_pickle"] is not False or _TENSOR.fullmatch(payload["path_name"]) is None:
            raise source.rejected(f"wants to run code: {name} is a pickled object in it, not a plain tensor")


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value with the key that it stands under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, name)


def _check_text(source: Source, key: str, text: str) -> None:
    allowed = _ALLOWED.get(key)
    if allowed is not None and allowed.fullmatch(text) is None:
        raise source.rejected(f"wants to run code: its graph asks for {text!r} ({key}). Nothing was run")
    if key in ("in_spec", "out_spec") and text:
        for container, context in _containers(json.loads(text)[1]):
            if container not in _CONTAINERS or "__enum__" in context:
                raise source.rejected(f"takes or gives a {container}; let it take and give tensors, tuples and dicts")


def _containers(spec: dict[str, Any]) -> Iterator[tuple[str | None, str]]:
    yield spec["type"], str(spec["context"])
    for child in spec["children_spec"]:
        yield from _containers(child)


def _check_mode(source: Source, graph: Any) -> None:
    """Refuse a program whose dropout or normalization was exported in training mode: its outputs are random."""
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for position, argument in enumerate(schema.arguments if schema else ()):
            given = node.args[position] if position < len(node.args) else node.kwargs.get(argument.name)
            if argument.name in ("train", "training") and given is True:
                raise source.rejected(
                    f"was exported in training mode ({node.target}, node {node.name}): call network.eval() before "
                    "torch.export.export"
                )


def _check_kinds(source: Source, state: dict[str, Any], torch: Any) -> None:
    """A program's steps are written for the type of its weights, so that they cannot be converted here."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise source.rejected(f"holds {tensor.dtype} weights ({name}): export the network in float32")
