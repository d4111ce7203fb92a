"""ZIP archives of PyTorch, read once and written anew, so that torch reads exactly what was looked at.

torch's own reader finds members in other ways than Python's: it does not tell capital letters from small ones, takes
the first of two members of one name, and another list of members where the file holds two. Whatever is looked through
before torch may have it goes through here.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence

from converters.checkpoints.base import Source, first_line

_DAMAGES = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, KeyError, OSError, EOFError, zlib.error)
_GROWTH, _SMALL_BYTES = 4, 1 << 26  # weights are stored as they are; code and configurations are compressed


def read_members(source: Source, data: bytes, words: str) -> dict[str, bytes]:
    """The members of an archive by name, folders left out. `words` say what it is.

    Raises:
        EngineRejected: it is damaged, holds two members of one name, or grows beyond what a checkpoint can.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = [info for info in archive.infolist() if not info.is_dir()]
            check_members(source, found, len(data))
            return {info.filename: archive.read(info) for info in found}
    except _DAMAGES as error:
        raise source.rejected(f"is {words}, cut off or damaged: {first_line(error)}") from error


def check_members(source: Source, found: Sequence[zipfile.ZipInfo], stored_bytes: int) -> None:
    """See that the members of an archive of so many bytes have a name each, and a size that can be.

    Raises:
        EngineRejected: they have not.
    """
    if len({info.filename.lower() for info in found}) < len(found):
        raise source.rejected("is an archive with two members of one name")
    size = sum(info.file_size for info in found)
    if size > _GROWTH * stored_bytes + _SMALL_BYTES:
        raise source.rejected(f"is an archive of {stored_bytes} bytes that would become {size}: no network does so")


def pack(members: Mapping[str, bytes]) -> bytes:
    """An archive of these members, not compressed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return stream.getvalue()
