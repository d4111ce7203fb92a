"""The clock: whether something sets it, its zone, and whether it can be right. Every result carries a time."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.doctor.check import Check, Site, fail, ok, warn
from edge_runtime.spool.layout import Layout

EARLIEST_YEAR, LATEST_YEAR = 2026, 2099

_STA_UNSYNC = 0x0040  # adjtimex(2)
_STATUS_OFFSET = 40 if ctypes.sizeof(ctypes.c_long) == 8 else 20  # of timex.status
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_STEP_SECONDS = 86_400.0


def examine_clock(site: Site) -> Iterator[Check]:
    """Synchronization, zone and plausibility."""
    yield synchronization(_TIMESYNCD.exists() or kernel_is_synchronized())
    local = time.localtime()
    yield ok("time zone", f"{local.tm_zone}, UTC{time.strftime('%z', local)}; results say their zone, or are in UTC")
    layout = Layout(Path(site.config.spool.path))
    files = [site.file, layout.version, layout.journal]
    yield plausibility(time.time(), max((file.stat().st_mtime for file in files if file.exists()), default=0.0))


def kernel_is_synchronized() -> bool | None:
    """What adjtimex(2) says: True when a time daemon keeps the clock; None where it cannot be asked."""
    timex = ctypes.create_string_buffer(512)  # struct timex has 208 bytes; modes is 0: only read
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (OSError, AttributeError):
        return None
    status = ctypes.c_int.from_buffer(timex, _STATUS_OFFSET).value
    return None if answer < 0 else not status & _STA_UNSYNC


def synchronization(synchronized: bool | None) -> Check:
    """Whether something sets the clock."""
    what, todo = "clock synchronization", "install and start chrony or systemd-timesyncd, with the site's time server"
    if synchronized is None:
        return warn(what, "cannot be asked here (a container?)", "see that the host's clock is synchronized")
    return ok(what, "synchronized") if synchronized else warn(what, "nothing sets this clock", todo)


def plausibility(now: float, newest: float) -> Check:
    """Whether the clock can be right: a year within reason, and no file of ours from its future."""
    what, found = "clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    todo = "set the clock, and replace the battery that keeps it while the power is off"
    if not EARLIEST_YEAR <= time.gmtime(now).tm_year <= LATEST_YEAR:
        return fail(what, f"{found}: cannot be", todo)
    if newest > now + _STEP_SECONDS:
        ahead = time.strftime("%Y-%m-%d", time.gmtime(newest))
        return fail(what, f"{found}, but a file of ours is from {ahead}", todo)
    return ok(what, found)
