"""Whose pictures a source shows now: the examination that a person has begun, as a durable file of the spool.

`examinations/SOURCE.json`, mode 0600, holds the newest examination of a source with the Patient and Study modules that
its key frames get. Without one that is open nothing of the source is stored.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import os
import secrets
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edge_runtime.errors import SpoolError, StepRefused
from edge_runtime.patient_and_study import UNREADABLE, decode, encode, new_uid
from edge_runtime.spool.layout import Layout, hold, sync_folder, write_durably

log = logging.getLogger("edge_runtime.examination")

SCHEMA_VERSION = 1
LONGEST_HOURS = 24.0
_LOCK_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Moment:
    """A point in time: Unix seconds (UTC), and CLOCK_MONOTONIC seconds, which mean something within one boot only."""

    unix: float
    monotonic: float
    boot: str

    @staticmethod
    def now() -> Moment:
        """This moment."""
        return Moment(time.time(), time.monotonic(), boot_id())


@lru_cache(maxsize=1)
def boot_id() -> str:
    """What tells this boot of the computer from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(frozen=True)
class Examination:
    """One examination of one patient at one source. `data_set` is base64 of an Explicit VR Little Endian data set."""

    id: str
    source: str
    begun_unix: float
    begun_monotonic: float
    begun_boot: str
    hours: float
    ended_unix: float | None
    series_uid: str
    data_set: str

    @property
    def ends_unix(self) -> float:
        """When it ends by itself (Unix seconds)."""
        return self.begun_unix + self.hours * 3600

    @property
    def attributes(self) -> Any:
        """The Patient and Study modules as a data set."""
        return decode(base64.b64decode(self.data_set))

    def takes(self, moment: Moment) -> bool:
        """True for what was captured while it was open.

        Within one boot the clock that never jumps decides; after another the wall clock has to. That one also ends it,
        for the other stands still while a computer sleeps. Once ended it takes nothing more, not even what was captured
        before.
        """
        if self.ended_unix is not None or moment.unix >= self.ends_unix:
            return False
        if moment.boot != self.begun_boot:
            return moment.unix >= self.begun_unix
        return 0 <= moment.monotonic - self.begun_monotonic < self.hours * 3600


def begin(layout: Layout, source: str, attributes: bytes, hours: float, now: Moment | None = None) -> Examination:
    """Begin an examination at a source, durably. `attributes` come from `patient_and_study`.

    Raises:
        StepRefused: one is open there. SpoolError: it cannot be written. ValueError: the hours.
    """
    if not 0 < hours <= LONGEST_HOURS:
        raise ValueError(f"--hours: more than 0 and at most {LONGEST_HOURS:g}")
    _make_folder(layout)
    with hold(_path(layout, source).with_suffix(".lock"), _LOCK_WAIT_SECONDS):
        moment = now or Moment.now()  # not before: what another has begun meanwhile lies in the past
        try:
            earlier = read_examination(layout, source)
        except SpoolError:  # it takes no frame, so it is not open
            earlier = None
        if earlier is not None and earlier.takes(moment):
            raise StepRefused(f"an examination is open at {source}; end it first: edge-runtime video end")
        examination = Examination(
            id=secrets.token_hex(8),
            source=source,
            begun_unix=moment.unix,
            begun_monotonic=moment.monotonic,
            begun_boot=moment.boot,
            hours=hours,
            ended_unix=None,
            series_uid=new_uid(),
            data_set=base64.b64encode(_dated(attributes, moment.unix)).decode("ascii"),
        )
        _write(layout, examination)
    return examination


def end(layout: Layout, source: str, now: Moment | None = None) -> Examination:
    """End the open examination of a source: it takes no further frame.

    Raises:
        StepRefused: none is open. SpoolError: it cannot be read or written.
    """
    _make_folder(layout)
    with hold(_path(layout, source).with_suffix(".lock"), _LOCK_WAIT_SECONDS):
        moment = now or Moment.now()
        examination = read_examination(layout, source)
        if examination is None or not examination.takes(moment):
            raise StepRefused(f"no examination is open at {source}")
        ended = dataclasses.replace(examination, ended_unix=moment.unix)
        _write(layout, ended)
    return ended


def read_examination(layout: Layout, source: str) -> Examination | None:
    """The newest examination of a source, open or not; None where there never was one.

    Raises:
        SpoolError: its file is damaged, or this user may not read it.
    """
    try:
        record = json.loads(_path(layout, source).read_bytes())
        if record.pop("schema_version") > SCHEMA_VERSION:
            raise ValueError("a newer runtime wrote it")
        examination = Examination(**record)
        if examination.source != source or not examination.attributes.StudyInstanceUID:
            raise ValueError("it is of another source")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SpoolError(
            f"the examination of {source} cannot be read: {error.strerror}; begin it as the user of the daemon"
        ) from error
    except UNREADABLE as error:
        text = f"the examination of {source} is damaged ({type(error).__name__}); begin it anew"
        raise SpoolError(text) from None
    return examination


class OpenExaminations:
    """Which examination takes a frame. Reads a file only when it has changed. One thread uses it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[tuple[int, ...], Examination | None]] = {}

    def at(self, source: str, moment: Moment) -> Examination | None:
        """The examination of `source` that takes what was captured at that moment, or None."""
        try:
            status = _path(self._layout, source).stat()
        except OSError:
            return None
        mark = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        known = self._known.get(source)
        if known is None or known[0] != mark:
            known = self._known[source] = (mark, self._read(source))
        examination = known[1]
        return examination if examination is not None and examination.takes(moment) else None

    def _read(self, source: str) -> Examination | None:
        try:
            return read_examination(self._layout, source)
        except SpoolError as error:
            log.error("no key frames of a source", extra={"event": {"source": source, "error": str(error)}})
            return None


def _path(layout: Layout, source: str) -> Path:
    return layout.examinations / f"{source}.json"


def _dated(attributes: bytes, unix: float) -> bytes:
    """With the date and time of the beginning where the study has none."""
    dataset = decode(attributes)
    if not dataset.get_item("StudyDate") or not dataset.get_item("StudyDate").value:
        begun = time.gmtime(unix)
        dataset.StudyDate, dataset.StudyTime = time.strftime("%Y%m%d", begun), time.strftime("%H%M%S", begun)
    return encode(dataset)


def _make_folder(layout: Layout) -> None:
    """The folder of examinations. What another user than the daemon's wrote, the daemon could not read.

    Raises:
        SpoolError: it cannot be made, or this is another user.
    """
    try:
        if layout.root.stat().st_uid != os.geteuid():
            raise SpoolError(
                f"run this as the user of the daemon, who owns {layout.root}: sudo -u USER edge-runtime video"
            )
        if not layout.examinations.exists():
            layout.examinations.mkdir(mode=0o700)
            sync_folder(layout.root)
    except OSError as error:
        raise SpoolError(
            f"spool {layout.root}: no examination can be kept: {error.strerror}; "
            "is spool.path right, and has the daemon run?"
        ) from error


def _write(layout: Layout, examination: Examination) -> None:
    document = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(examination)}
    try:
        write_durably(_path(layout, examination.source), json.dumps(document, indent=1).encode())
    except OSError as error:
        raise SpoolError(f"the examination of {examination.source} is not written: {error.strerror}") from error
