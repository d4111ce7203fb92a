"""The receivers beside the daemon: started, sent to, counted, emptied."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from benchmarks.peers import dcmtk, orthanc
from benchmarks.peers.dcmtk import Sent
from benchmarks.peers.orthanc import Orthanc

_PDU = ("-pdu", "131072")
ORTHANCS: Mapping[str, Mapping[str, Any]] = {"orthanc": {}, "orthanc-fastest": orthanc.FASTEST}
"""Peers and what their configuration has beside Orthanc's defaults."""


def missing(peers: Iterable[str]) -> dict[str, str]:
    """Of some peers, those that cannot be measured here, and why."""
    why = orthanc.missing()
    return {} if why is None else {peer: why for peer in peers if peer in ORTHANCS}


class Receivers:
    """A new process for each send, but for Orthanc: it goes on and is emptied."""

    def __init__(self, work: Path, bytes_each: int, stack: ExitStack) -> None:
        self._work = work
        self._least_bytes = bytes_each - 1024
        self._stack = stack
        self._orthancs: dict[tuple[str, bool], Orthanc] = {}

    def receive(self, peer: str, no_delay: bool, send: Callable[[int], Sent]) -> tuple[Sent, int]:
        """Have `send` done to the peer's port; what came of it, and how many whole instances the peer had then.

        no_delay: TCP_NODELAY=1 in the environment of DCMTK's receivers, and of Orthanc, which is built on DCMTK.
        """
        return self._to_orthanc(peer, no_delay, send) if peer in ORTHANCS else self._to_folder(peer, no_delay, send)

    def _to_folder(self, peer: str, no_delay: bool, send: Callable[[int], Sent]) -> tuple[Sent, int]:
        folder = self._work / "peer"
        pynetdicom = [sys.executable, "-m", "benchmarks.peers.pynetdicom_store"]
        receivers: dict[str, Callable[[], AbstractContextManager[int]]] = {
            "storescp": lambda: dcmtk.storescp(folder, no_delay=no_delay),
            "storescp-nodelay": lambda: dcmtk.storescp(folder, no_delay=True),
            "storescp-pdu": lambda: dcmtk.storescp(folder, *_PDU, no_delay=no_delay),
            "storescp-fork": lambda: dcmtk.storescp(folder, "--fork", *_PDU, no_delay=no_delay),
            "pynetdicom": lambda: dcmtk.listening([*pynetdicom, "plain", str(folder)], folder),
            "pynetdicom-fsync": lambda: dcmtk.listening([*pynetdicom, "fsync", str(folder)], folder),
        }
        with receivers[peer]() as port:
            sent = send(port)
        kept = sum(1 for path in folder.iterdir() if path.stat().st_size >= self._least_bytes)
        shutil.rmtree(folder)
        return sent, kept

    def _to_orthanc(self, peer: str, no_delay: bool, send: Callable[[int], Sent]) -> tuple[Sent, int]:
        if (peer, no_delay) not in self._orthancs:
            folder = self._work / f"{peer}-{'nodelay' if no_delay else 'stock'}"
            started = orthanc.receiver(folder, no_delay=no_delay, extra=ORTHANCS[peer])
            self._orthancs[peer, no_delay] = self._stack.enter_context(started)
        running = self._orthancs[peer, no_delay]
        sent = send(running.dicom_port)
        count, stored_bytes = running.stored()
        running.empty()
        return sent, min(count, stored_bytes // self._least_bytes)
