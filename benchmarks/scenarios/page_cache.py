"""The page cache of chosen files: which of them a start reads, putting them out, and how much of them it holds."""

from __future__ import annotations

import ctypes
import importlib.metadata
import mmap
import os
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import edge_runtime
from benchmarks.record import BenchFailed

_PRODUCT = "edge-runtime"
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def environment_files() -> list[Path]:
    """The files of the runtime, of the packages that it requires, and of Python's standard library.

    Raises:
        BenchFailed: the runtime is not installed, so that nobody knows what it requires.
    """
    found = set(_below(Path(edge_runtime.__file__).parent))
    packages = _required(_PRODUCT, set())
    if not packages:
        raise BenchFailed(f"{_PRODUCT} is not installed here, so its packages are not known; run: pip install -e .")
    for package in packages:
        distribution = importlib.metadata.distribution(package)
        found.update(Path(str(distribution.locate_file(file))) for file in distribution.files or ())
    library = Path(sysconfig.get_path("stdlib"))
    found.update(path for path in _below(library) if "site-packages" not in path.parts)
    return sorted(path for path in found if path.is_file())


def _required(package: str, known: set[str]) -> set[str]:
    """The package and all that it requires here, without extras."""
    try:
        requirements = importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:  # of a requirement: a marker excludes it, as on another platform
        return known
    known.add(package)
    for requirement in requirements:
        name = _NAME.match(requirement)
        if name and "extra ==" not in requirement and name[0] not in known:
            _required(name[0], known)
    return known


def _below(folder: Path) -> Iterator[Path]:
    return (Path(at) / name for at, _, names in os.walk(folder) for name in names)


def put_out(files: Sequence[Path]) -> None:
    """Ask the kernel to drop the files' pages (posix_fadvise(2), POSIX_FADV_DONTNEED); needs no privilege.

    Pages that are dirty, or that a running process has mapped, stay.
    """
    os.sync()
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def cached_bytes(files: Sequence[Path]) -> int:
    """How much of the files is in the page cache (mincore(2)); all of a file that this user may not write."""
    return sum(_cached_pages(file) for file in files) * mmap.PAGESIZE


def _cached_pages(file: Path) -> int:
    size = file.stat().st_size
    if not size:
        return 0
    found = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    library = ctypes.CDLL(None, use_errno=True)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        begin = ctypes.c_char.from_buffer(mapped)
        failed = library.mincore(ctypes.c_void_p(ctypes.addressof(begin)), ctypes.c_size_t(size), found)
        del begin  # or the map cannot be closed
    if failed:
        raise OSError(ctypes.get_errno(), "mincore", str(file))
    return sum(one & 1 for one in bytes(found))
