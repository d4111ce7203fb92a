"""Pickles, read with `weights_only`; what they ask for beyond weights is named without running it."""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from converters.checkpoints.archives import check_members
from converters.checkpoints.base import Source, first_line, quiet, require
from edge_runtime.errors import EngineRejected

_REFUSED = re.compile(r"(?:GLOBAL|function|class) '?([\w.]+\.\w+)")  # in the words of torch
_READABLE_PROTOCOL = 2
_ADVICE = (
    "Only weights are loaded, and nothing was run. A file that holds a whole network asks for its classes: where you "
    "trust it, save the weights alone, torch.save(network.state_dict(), FILE), and describe them as format: state_dict"
)
_REASON = re.compile(r"(WeightsUnpickler error: \S.*)")
_WEIGHTS = re.compile(
    r"collections\.(OrderedDict|defaultdict|Counter)|torch\._utils\._rebuild\w+|torch\.storage\.\w+|torch\.Size"
    r"|torch\.(Float|Double|Half|BFloat16|Byte|Char|Short|Int|Long|Bool)Storage|torch\.Tensor|_codecs\.encode"
    r"|torch\.nn\.parameter\.Parameter|torch\.\w*(float|int|bool)\w*|torch\.device|torch\._tensor\.\w+"
)


def load_weights(source: Source, data: bytes) -> Any:
    """The object that `torch.save` wrote, of weights, numbers, texts and containers of these.

    Raises:
        EngineRejected: it is damaged, or wants to run code; names what it asked for.
    """
    torch = require("torch", "torch")
    _check_size(source, data)
    try:
        with quiet():
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = _REFUSED.search(str(error))
        asked = refused.group(1) if refused else next(asked_for(data), None)
        if asked is None:
            raise _damaged(source, error) from error
        raise source.rejected(f"wants to run code: its pickle asks for {asked}. {_ADVICE}") from error
    except Exception as error:
        raise _damaged(source, error) from error


def _check_size(source: Source, data: bytes) -> None:
    """See that an archive does not grow beyond what memory holds. torch says what else is wrong with it."""
    with contextlib.suppress(zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError):
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                check_members(source, archive.infolist(), len(data))


def _damaged(source: Source, error: Exception) -> EngineRejected:
    protocol = max((part[1] for part in _pickles(source.data) if part[:1] == b"\x80" and len(part) > 1), default=0)
    if protocol > _READABLE_PROTOCOL:
        return source.rejected(
            f"is a pickle of protocol {protocol}; weights are read from protocol {_READABLE_PROTOCOL} alone: save it "
            "with torch.save and no pickle_protocol"
        )
    told = _REASON.search(str(error))
    return source.rejected(f"is cut off or damaged: {told.group(1) if told else first_line(error)}")


def asked_for(data: bytes) -> Iterator[str]:
    """The names that a pickle, or a file of torch.save, asks for beyond weights, in order; nothing is run."""
    for part in _pickles(data):
        for name in names_in(part):
            if _WEIGHTS.fullmatch(name) is None:
                yield name


def _pickles(data: bytes) -> Iterator[bytes]:
    if not data.startswith(b"PK"):
        yield data
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if name.endswith(".pkl"):
                    yield archive.read(name)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError):
        return


def names_in(data: bytes) -> Iterator[str]:
    """Every `module.name` that the pickles in a stream, one after the other, would import."""
    stream = io.BytesIO(data)
    while True:
        start = stream.tell()
        try:
            yield from _names(stream)
        except Exception as error:  # damaged, or the tensors after the last pickle
            if isinstance(error, (ValueError, IndexError, EOFError, OverflowError, KeyError)):
                return
            raise
        if stream.tell() in (start, len(data)):
            return


def _names(stream: io.BytesIO) -> Iterator[str]:
    texts: list[str] = []
    memo: dict[int, str] = {}
    last = ""
    argument: Any
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = last
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument)] = last
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            texts.append(memo.get(int(argument), ""))
        last = str(argument) if isinstance(argument, str) else ""
        if "UNICODE" in opcode.name or "STRING" in opcode.name:
            texts.append(last)
