"""Sends series to the daemon as modalities do, at moments that do not depend on its answers (open loop)."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.presentation import build_context

from benchmarks.acceptance.series import Callers
from benchmarks.acceptance.traffic import SeriesTraffic
from benchmarks.record import BenchFailed
from benchmarks.slices import write_again

_SUCCESS = 0x0000
_TIMEOUT_SECONDS = 60.0
_AHEAD_SECONDS = 5.0
"""A series is written so long before it is due: long enough for a large one, and few lie on the disk."""


@dataclass(frozen=True)
class SentStudy:
    """One series that was sent, in a study of its own. Times are Unix seconds; `due_at`: when it was to begin.

    acknowledged: instances answered with Success. refused: how the first of the others was answered; "" none.
    """

    pipeline: str
    study_uid: str
    due_at: float
    begun_at: float
    last_response_at: float
    acknowledged: int
    refused: str = ""


@dataclass(frozen=True)
class Route:
    """Where a pipeline's series come from and go to."""

    pipeline: str
    series: Sequence[Dataset]
    callers: Callers
    port: int


def send_one(route: Route, folder: Path, due_at: float, stop: threading.Event) -> SentStudy | None:
    """Write the series under new UIDs, wait until it is due (Unix seconds), send it, delete it; None: `stop` was set.

    Raises:
        BenchFailed: the daemon takes no association, or ends it.
    """
    write_again(route.series, folder, f"{folder.name}-{time.time_ns()}")
    try:
        files = sorted(folder.iterdir())
        heads = [pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID"]) for file in files]
        if stop.wait(max(0.0, due_at - time.time())):
            return None
        begun_at = time.time()
        acknowledged, last_at, refused = _store(route, files, {_context(head) for head in heads})
        study_uid = str(heads[0].StudyInstanceUID)
        return SentStudy(route.pipeline, study_uid, due_at, begun_at, last_at, acknowledged, refused)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _context(head: Dataset) -> tuple[str, str]:
    return str(head.file_meta.MediaStorageSOPClassUID), str(head.file_meta.TransferSyntaxUID)


def _store(route: Route, files: Sequence[Path], kinds: set[tuple[str, str]]) -> tuple[int, float, str]:
    ae = AE(route.callers.calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _TIMEOUT_SECONDS
    ae.requested_contexts = [build_context(kind, syntax) for kind, syntax in sorted(kinds)]
    peer = ae.associate("127.0.0.1", route.port, ae_title=route.callers.called, max_pdu=131_072)
    if not peer.is_established:
        raise BenchFailed(
            f"the daemon took no association from {route.callers.calling} to {route.callers.called} "
            f"for pipeline {route.pipeline}; look at receive.dicom"
        )
    peer.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    acknowledged, last_at, refused = 0, time.time(), ""
    try:
        for file in files:
            status: Any = peer.send_c_store(file)
            last_at = time.time()
            if status.get("Status") == _SUCCESS:
                acknowledged += 1
            elif "Status" not in status:
                raise BenchFailed(f"the daemon ended an association of pipeline {route.pipeline} without an answer")
            else:
                refused = refused or f"0x{status.Status:04X} {status.get('ErrorComment', '')}".strip()
    finally:
        peer.release()
    return acknowledged, last_at, refused


class Sender:
    """Sends one pipeline's traffic in threads of its own, as many as its associations, until the time is over."""

    def __init__(self, route: Route, traffic: SeriesTraffic, seconds: float, work: Path) -> None:
        self.sent: list[SentStudy] = []
        self._route, self._work = route, work
        self._moments = enumerate(traffic.moments(seconds))
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._pool = ThreadPoolExecutor(traffic.associations, f"sender-{route.pipeline}")
        self._running: list[Future[None]] = []
        self._associations = traffic.associations
        self._began_at = 0.0

    def start(self) -> None:
        """Begin now."""
        self._began_at = time.time()
        self._running = [self._pool.submit(self._run) for _ in range(self._associations)]

    @property
    def done(self) -> bool:
        """True when everything was sent. Raises what ended the sending early."""
        over = [one for one in self._running if one.done()]
        for one in over:
            one.result()
        return len(over) == len(self._running)

    def stop(self) -> None:
        """Send no further series; those under way are ended first."""
        self._stop.set()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                number, moment = next(self._moments, (0, None))
            if moment is None:
                return
            due_at = self._began_at + moment
            if self._stop.wait(max(0.0, due_at - _AHEAD_SECONDS - time.time())):
                return
            study = send_one(self._route, self._work / f"{self._route.pipeline}-{number}", due_at, self._stop)
            if study is not None:
                self.sent.append(study)
