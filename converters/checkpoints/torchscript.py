"""TorchScript archives (`torch.jit.save`): a traced or scripted network."""

from __future__ import annotations

import io
import re
import zipfile
import zlib

from converters.checkpoints.base import Loaded, Source, first_line, quiet, require
from converters.checkpoints.kinds import kind_of
from converters.checkpoints.weights import check_module, to_float32

_FILES = re.compile(rb"\b(?:torch|aten|ops\.aten)(?:\.|::)(save|from_file)\(")  # the operators that touch files


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
    _refuse_files(source, data)
    try:
        with quiet():
            module = torch.jit.load(io.BytesIO(data), map_location="cpu").eval()
    except Exception as error:
        raise source.rejected(f"is no TorchScript that can be read; it is {words}: {first_line(error)}") from error
    notes = to_float32(module)
    check_module(source, module)
    return Loaded(module=module, exporter="trace", notes=tuple(notes))


def _refuse_files(source: Source, data: bytes) -> None:
    """TorchScript is a language of tensors, which can do no harm but by two operators."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                found = _FILES.search(archive.read(name)) if name.endswith(".py") else None
                if found is not None:
                    raise source.rejected(f"wants to touch files: its code calls torch.{found.group(1).decode()}")
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError, zlib.error):
        return  # damaged: torch says how
