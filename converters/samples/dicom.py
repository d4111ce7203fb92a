"""DICOM samples, read and assembled as the daemon does it: decode processes, then `assemble`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

from edge_runtime.assemble.decoder import DecodePool
from edge_runtime.assemble.header import read_header
from edge_runtime.assemble.volume import assemble
from edge_runtime.config import Decode
from edge_runtime.domain import Image
from edge_runtime.errors import ConfigurationError, Refused
from edge_runtime.roles.collect import series_key
from edge_runtime.telemetry.metrics import NullMetrics

_PREAMBLE_BYTES, _PREFIX = 128, b"DICM"  # PS3.10 7.1


def is_dicom(path: Path) -> bool:
    """Whether the file begins as a DICOM file does."""
    with path.open("rb") as file:
        return file.read(_PREAMBLE_BYTES + len(_PREFIX))[_PREAMBLE_BYTES:] == _PREFIX


def series_files(folder: Path) -> list[Path]:
    """The DICOM files below a folder, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR" and is_dicom(path))


class DicomReader:
    """Reads series. The decode processes start with the first one, and end with the context."""

    def __init__(self, kind: Literal["volume", "frames"]) -> None:
        self._kind = kind
        self._pool: DecodePool | None = None

    def __enter__(self) -> DicomReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.close()

    def read(self, path: Path) -> Image:
        """The image of a file, or of the one series in a folder.

        Raises:
            ConfigurationError: a file is broken or of another series, or they make no image; names it.
        """
        files = series_files(path) if path.is_dir() else [path]
        if not files:
            raise ConfigurationError(f"{path}: the folder holds no DICOM image")
        _check_one_series(path, files)
        self._pool = self._pool or DecodePool(Decode(), NullMetrics())
        objects = []
        for file, future in [(file, self._pool.submit(file)) for file in files]:
            try:
                objects.append(future.result())
            except Refused as refused:
                raise ConfigurationError(f"{file}: {refused}") from refused
        try:
            return assemble(objects, self._kind)
        except Refused as refused:
            hint = "" if path.is_dir() else "; put the files of one series into a folder of their own"
            raise ConfigurationError(f"{path}: {refused}{hint}") from refused


def _check_one_series(path: Path, files: Sequence[Path]) -> None:
    first = None
    for file in files:
        try:
            header = read_header(file)
        except Refused as refused:
            raise ConfigurationError(f"{file}: {refused}") from refused
        if not header.has_pixels:
            raise ConfigurationError(f"{file}: this DICOM object holds no image; move it away")
        if header.own_result:
            raise ConfigurationError(f"{file}: this is a result that Edge Runtime wrote, no image of a patient")
        first = first or series_key(header)
        if series_key(header) != first:
            raise ConfigurationError(f"{path}: {file.name} is of another series; give each series a folder of its own")
