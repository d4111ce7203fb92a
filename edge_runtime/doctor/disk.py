"""The spool's disk: where it is, how fast it makes bytes durable, and whether a day fits on it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from edge_runtime.doctor.check import Check, Site, fail, ok, warn
from edge_runtime.spool.layout import Layout

SLOWEST_MEGABYTES_PER_SECOND = 20.0  # a CT slice of 0.5 MB in 25 ms: about what one sender over 1 Gbit/s needs
SLOWEST_SYNC_SECONDS = 0.05  # two for each image: ten images a second
ASSUMED_DAY_BYTES = 20_000_000_000  # about forty CT studies, where the spool has no day of its own to go by

_DAY_SECONDS = 86_400.0
_BLOCK_BYTES = 1 << 20
_BLOCKS = 32
_SYNCS = 20
_IN_MEMORY = ("tmpfs", "ramfs")
_OVER_A_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs")


def examine_disk(site: Site) -> Iterator[Check]:
    """Kind, space and speed of the disk under `spool.path`, which need not exist yet."""
    layout = Layout(Path(site.config.spool.path))
    there = nearest_folder(layout.root)
    yield _kind(file_system_of(there, Path("/proc/self/mountinfo").read_text()), layout.root)
    yield from _one_file_system(layout)
    space = space_check(shutil.disk_usage(there).free, site.config.spool.reserve_bytes, _day_bytes(layout.journal),
                        site.config.retention.originals_hours)  # fmt: skip
    yield space
    yield from _speed(there, site.config.spool.reserve_bytes)


def nearest_folder(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def file_system_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds `path`, from the text of /proc/self/mountinfo (proc(5))."""
    best, kind = -1, "unknown"
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mount_point = left.split()[4].encode("ascii", "replace").decode("unicode_escape")
        if path.resolve().is_relative_to(mount_point) and len(mount_point) >= best:
            best, kind = len(mount_point), right.split()[0]
    return kind


def _kind(kind: str, root: Path) -> Check:
    what = "spool file system"
    if kind in _IN_MEMORY:
        return warn(what, f"{kind}: in memory", f"put spool.path on a disk; a power failure takes {root} with it")
    if kind in _OVER_A_NETWORK:
        return warn(what, f"{kind}: over a network", "put spool.path on a disk of this computer; the journal needs one")
    if kind == "overlay":
        return warn(what, "overlay: of a container", "mount a volume at spool.path, else it goes with the container")
    return ok(what, kind)


def _one_file_system(layout: Layout) -> Iterator[Check]:
    folders = [folder for folder in (layout.instances, layout.jobs, layout.run) if folder.is_dir()]
    if not layout.root.is_dir():
        return
    device = layout.root.stat().st_dev
    apart = [folder.name for folder in folders if folder.stat().st_dev != device]
    what = "spool on one file system"
    if apart:
        yield fail(what, f"{', '.join(apart)}: another one", "mount the whole of spool.path, not a folder inside it")
    else:
        yield ok(what, "yes: files are renamed within it")


def space_check(free_bytes: int, reserve_bytes: int, day_bytes: int | None, kept_hours: float) -> Check:
    """Free space against the reserve, and against what arrives while originals are kept."""
    what = "spool space"
    usable = free_bytes - reserve_bytes
    found = f"{free_bytes / 1e9:.1f} GB free, {reserve_bytes / 1e9:.1f} GB of it reserved"
    if usable <= 0:
        return fail(what, found, "make room: C-STORE is refused below spool.reserve_bytes")
    per_day = ASSUMED_DAY_BYTES if day_bytes is None else day_bytes
    basis = "assumed" if day_bytes is None else "as in the last 24 h"
    expected = per_day * max(kept_hours, 24.0) / 24.0
    found += f"; {per_day / 1e9:.1f} GB a day {basis}, kept for {kept_hours:g} h"
    if usable < expected:
        return warn(what, found, f"give the spool {(expected - usable) / 1e9:.0f} GB more, or lower originals_hours")
    return ok(what, found)


def _day_bytes(journal: Path) -> int | None:
    """What was received in the last 24 hours; None where no journal can be read, or it has only begun."""
    now = time.time()
    query = "SELECT min(received_at), sum(size_bytes) FILTER (WHERE received_at > ?) FROM instances"
    try:
        with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
            first, received = db.execute(query, (now - _DAY_SECONDS,)).fetchone()
    except sqlite3.Error:  # the assumed day will do
        return None
    return None if first is None or first > now - _DAY_SECONDS / 2 else int(received or 0)


def _speed(folder: Path, reserve_bytes: int) -> Iterator[Check]:
    what = "spool disk speed"
    if shutil.disk_usage(folder).free < reserve_bytes + 2 * _BLOCKS * _BLOCK_BYTES:
        yield warn(what, "not measured: the disk is full", "make room, then run it again")
        return
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as place:
            yield speed_check(*measure(Path(place)))
    except OSError as error:
        yield fail(
            "spool can be written", f"{folder}: {error.strerror}", "run this as the daemon's user; see spool.path"
        )


def speed_check(megabytes_per_second: float, sync_seconds: float) -> Check:
    """The measured speed against the bounds."""
    what, found = "spool disk speed", f"{megabytes_per_second:.0f} MB/s durable, {1000 * sync_seconds:.1f} ms a fsync"
    if megabytes_per_second < SLOWEST_MEGABYTES_PER_SECOND or sync_seconds > SLOWEST_SYNC_SECONDS:
        bounds = f"{SLOWEST_MEGABYTES_PER_SECOND:.0f} MB/s and {1000 * SLOWEST_SYNC_SECONDS:.0f} ms"
        return warn(what, found, f"senders will wait; use an SSD or NVMe disk (at least {bounds})")
    return ok(what, found)


def measure(folder: Path) -> tuple[float, float]:
    """Megabytes per second written and fsynced, and the median seconds of one fsync of 4 KiB; removes its files."""
    block = os.urandom(_BLOCK_BYTES)
    descriptor = os.open(folder / "speed", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        began = time.perf_counter()
        for _ in range(_BLOCKS):
            os.write(descriptor, block)
        os.fsync(descriptor)
        rate = _BLOCKS * _BLOCK_BYTES / 1e6 / (time.perf_counter() - began)
        waits = []
        for _ in range(_SYNCS):
            os.write(descriptor, block[:4096])
            began = time.perf_counter()
            os.fsync(descriptor)
            waits.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
    return rate, statistics.median(waits)
