"""What a folder is on, and hashes of files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True)
class FileSystem:
    """What a folder is on."""

    type: str
    device: str

    @property
    def in_memory(self) -> bool:
        """True where an fsync proves nothing."""
        return self.type in MEMORY_FILE_SYSTEMS

    def document(self) -> dict[str, str]:
        """For the result: the device node alone, for a server's name, a pool or a volume group may name the site."""
        if not self.device.startswith("/dev/"):
            return {"type": self.type}
        return {"type": self.type, "device": "/dev/" + self.device.split("/")[2]}


def file_system(folder: Path) -> FileSystem:
    """The file system that holds a folder, which exists."""
    resolved = folder.resolve()
    best, found = -1, FileSystem("unknown", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, mount, kind, *_ = line.split(" ")
        place = Path(mount.encode().decode("unicode_escape"))
        if resolved.is_relative_to(place) and len(place.parts) >= best:
            best, found = len(place.parts), FileSystem(kind, device)
    return found


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
