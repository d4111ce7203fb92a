"""A concluded job's result on disk: `result.json`, and `arrays.npz` with its masks (packed bits) and key images.

The round trip is exact. The arrays are written first and the JSON, which holds the hash of both, last: a folder with
a `result.json` holds a whole result or is refused, whenever the power fails.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import types
import typing
import zipfile
from enum import Enum
from pathlib import Path
from typing import Any, cast

import numpy as np

from edge_runtime.domain import Array, JobResult
from edge_runtime.errors import SpoolError, SpoolFull

SCHEMA_VERSION = 2
"""Goes up with each new field, which has a default: that is what older results, which are still read, then say."""

_JSON = "result.json"
_ARRAYS = "arrays.npz"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, OSError, EOFError, zipfile.BadZipFile)
_DTYPES = ("bool", "uint8", "uint16", "float32")


def save_result(result: JobResult, folder: Path) -> None:
    """Make `result` durable in `folder`, which exists; a result that is already there is replaced.

    A crash while one result replaces another may leave a folder that `load_result` refuses, never a mixture.

    Raises:
        SpoolFull: the disk did not take the bytes. SpoolError: it cannot be written for another reason.
    """
    arrays: dict[str, Array] = {}
    encoded = _encode(result, arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **cast(dict[str, Any], arrays))
    packed = buffer.getvalue()
    document = {"schema_version": SCHEMA_VERSION, "sha256": _digest(encoded, packed), "result": encoded}
    try:
        _replace(folder / _ARRAYS, packed)
        _replace(folder / _JSON, json.dumps(document, separators=(",", ":")).encode())
    except OSError as error:
        kind = SpoolFull if error.errno in _FULL else SpoolError
        why = os.strerror(error.errno or 0)
        raise kind(f"the result of job {result.job_id} could not be written: {why}; free or repair the disk") from error


def load_result(folder: Path) -> JobResult:
    """The result saved in `folder`, equal in every bit.

    Raises:
        SpoolError: there is none, it is damaged, or a newer runtime wrote it.
    """
    try:
        document = json.loads((folder / _JSON).read_bytes())
        version = document["schema_version"]
        if version <= SCHEMA_VERSION:
            packed = (folder / _ARRAYS).read_bytes()
            if _digest(document["result"], packed) != document["sha256"]:
                raise ValueError("the two files are not those that were written together")
            with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
                return cast(JobResult, _decode(document["result"], JobResult, arrays))
    except FileNotFoundError as error:
        raise SpoolError(f"{folder.name} holds no whole result; run the job again") from error
    except _DAMAGED as error:
        raise SpoolError(
            f"the result in {folder.name} is damaged ({type(error).__name__}); run the job again"
        ) from error
    raise SpoolError(
        f"the result in {folder.name} has schema version {version}, this program reads {SCHEMA_VERSION} and older; "
        "finish it with the program that wrote it, or run the job again"
    )


def _digest(encoded: Any, packed: bytes) -> str:
    """Hex SHA-256 of the result's JSON and its arrays."""
    return hashlib.sha256(json.dumps(encoded).encode() + packed).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    """Atomic and durable: temporary file, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _encode(value: Any, arrays: dict[str, Array]) -> Any:
    """`value` as JSON; arrays go to `arrays`, bool ones as packed bits, and leave their name, shape and type."""
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _DTYPES:
            raise SpoolError(f"an array of {value.dtype} has no place in a result")
        name = f"a{len(arrays)}"
        arrays[name] = np.packbits(value) if value.dtype == np.bool_ else np.ascontiguousarray(value)
        return {"array": name, "shape": list(value.shape), "dtype": value.dtype.name}
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {field.name: _encode(getattr(value, field.name), arrays) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _decode(value: Any, hint: Any, arrays: Any) -> Any:
    """The value of type `hint` that `_encode` made this of. The classes of `domain` check it once more."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        chosen = [argument for argument in arguments if argument is not type(None)]
        return None if value is None else _decode(value, chosen[0], arrays)
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        return tuple(_decode(item, kind, arrays) for item, kind in zip(value, kinds, strict=True))
    if origin is np.ndarray:
        return _array(value, arrays)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        if not set(value) <= {field.name for field in dataclasses.fields(hint)}:
            raise ValueError("the fields are not those of this program")
        return cast(Any, hint)(**{name: _decode(item, hints[name], arrays) for name, item in value.items()})
    return float(value) if hint is float else value


def _array(stored: dict[str, Any], arrays: Any) -> Array:
    shape = tuple(stored["shape"])
    data = arrays[stored["array"]]
    if stored["dtype"] == "bool":
        data = np.unpackbits(data, count=int(np.prod(shape))).astype(np.bool_)
    whole: Array = data.reshape(shape)
    if whole.dtype.name != stored["dtype"]:
        raise ValueError("an array has not the type it was saved with")
    return whole
