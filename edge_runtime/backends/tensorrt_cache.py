"""TensorRT-RTX compiles an engine's kernels when it is loaded. Its runtime cache keeps them for the next start.

The file is code for the GPU, and has no signature: it is read only where nobody but its owner could have written it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from edge_runtime.backends.tensorrt_api import Api

log = logging.getLogger("edge_runtime.backends.tensorrt")

_OTHERS_WRITE = 0o022


def cache_file(folder: Path, engine: bytes, capability: tuple[int, int] | None, version: str) -> Path:
    """Where the kernels of an engine are kept for one kind of GPU and one version of the library."""
    sm = "unknown" if capability is None else "{}.{}".format(*capability)
    return folder / f"{hashlib.sha256(engine).hexdigest()}-{sm}-{version}.rtxcache"


class KernelCache:
    """The runtime cache (IRuntimeCache) of one engine, shared by its contexts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._cache: Any = None
        self._known = b""

    def give(self, api: Api, runtime_config: Any) -> None:
        """Let contexts of this configuration use the cache, with what the file holds."""
        if self._cache is None:
            runtime_cache = runtime_config.create_runtime_cache()
            known = _read(self._file)
            if known and not runtime_cache.deserialize(known):
                _say("the kernels' cache is damaged or of another GPU, driver or version; they are compiled again", "")
                known = b""
            self._cache, self._known = runtime_cache, known
        if not runtime_config.set_runtime_cache(self._cache):
            _say(f"{api.package} does not take the kernels' cache; they are compiled at each start", "")

    def store(self) -> None:
        """Keep what was compiled since; where that fails the log says so."""
        if self._cache is None:
            return
        runtime_cache = self._cache
        data = bytes(runtime_cache.serialize())
        if not data or data == self._known:
            return
        try:
            _write(self._file, data)
            self._known = data
        except OSError as error:
            _say("the kernels cannot be kept; each start compiles them again", str(error.strerror))


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            facts = os.fstat(stream.fileno())
            if facts.st_mode & _OTHERS_WRITE or facts.st_uid not in (0, os.geteuid()):
                _say("the kernels' cache could have been written by others; it is not used", "")
                return b""
            return stream.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        _say("the kernels' cache cannot be read", str(error.strerror))
        return b""


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name[:16]}.", delete=False) as stream:
        try:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            Path(stream.name).replace(file)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(stream.name).unlink()
            raise


def _say(what: str, error: str) -> None:
    log.warning(what, extra={"event": {"error": error}} if error else None)
