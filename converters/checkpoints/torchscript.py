"""TorchScript archives (`torch.jit.save`): a traced or scripted network."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

from converters.checkpoints.archives import pack, read_members
from converters.checkpoints.base import Loaded, Source, first_line, quiet, require
from converters.checkpoints.kinds import kind_of
from converters.checkpoints.weights import check_module, to_float32

_FILES = re.compile(rb"\b(save|from_file)\b(?!\s*:)")  # the operators that touch files; with a colon, an attribute
_GETATTR = re.compile(rb'\bgetattr\([\w.]+, "[^"\\\n]*"\)')  # as torch writes it: no text that is put together


def load(source: Source) -> Loaded:
    """The module of the archive, float32 and in evaluation mode. It is exported by tracing.

    Raises:
        BackendUnavailable: torch is missing.
        EngineRejected: it is damaged or no TorchScript, or a weight is NaN.
    """
    return load_archive(source, source.data)


def load_archive(source: Source, data: bytes) -> Loaded:
    """The module of a TorchScript archive."""
    torch = require("torch", "torch")
    kind, words = kind_of(data)
    if kind not in ("torchscript", "zip"):
        raise source.rejected(f"is no TorchScript: it is {words}")
    members = read_members(source, data, words)
    _refuse_files(source, members)
    try:
        with quiet():
            module = torch.jit.load(io.BytesIO(pack(members)), map_location="cpu").eval()
    except Exception as error:
        raise source.rejected(f"is no TorchScript that can be read; it is {words}: {first_line(error)}") from error
    notes = to_float32(module)
    check_module(source, module)
    return Loaded(module=module, exporter="trace", notes=tuple(notes))


def _refuse_files(source: Source, members: Mapping[str, bytes]) -> None:
    """TorchScript is a language of tensors, which can do no harm but by two operators."""
    for name, code in members.items():
        if not name.lower().endswith(".py"):
            continue
        found = _FILES.search(code)
        if found is not None:
            raise source.rejected(f"wants to touch files: its code calls torch.{found.group(1).decode()}")
        if b"getattr" in _without_getattr(code):
            raise source.rejected("was altered: its code looks up a name that it puts together. Nothing was run")


def _without_getattr(code: bytes) -> bytes:
    """The code with what torch writes of children whose names are no identifiers, from the inside out."""
    while True:
        shorter = _GETATTR.sub(b"_", code)
        if shorter == code:
            return code
        code = shorter
