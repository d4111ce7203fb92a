"""What a good engineer writes in a day: receive with pynetdicom, run the networks, answer with highdicom.

It shares no code with the daemon. Images stay in memory, nothing is synced, a crash loses what was acknowledged.

    python -m benchmarks.peers.day_script ENGINE.onnx... QUIET_SECONDS folder:PATH|dicom:PORT PORT
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, MRImageStorage, Verification

from benchmarks.peers.day_analysis import Analysis


def command(networks: Sequence[Path], quiet_seconds: float, destination: str) -> list[str]:
    """The command line but for the port."""
    names = [str(network) for network in networks]
    return [sys.executable, "-m", "benchmarks.peers.day_script", *names, str(quiet_seconds), destination]


class Receiver:
    """Collects data sets by series until a series is quiet."""

    def __init__(self, port: int, quiet_seconds: float) -> None:
        self._quiet = quiet_seconds
        self._lock = threading.Lock()
        self._series: dict[str, list[Any]] = {}
        self._last: dict[str, float] = {}
        ae = AE("EDGE")
        ae.maximum_pdu_size = 131_072
        for sop_class in (MRImageStorage, CTImageStorage, Verification):
            ae.add_supported_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])

    def _store(self, event: Any) -> int:
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        with self._lock:
            self._series.setdefault(data_set.SeriesInstanceUID, []).append(data_set)
            self._last[data_set.SeriesInstanceUID] = time.monotonic()
        return 0x0000

    def wait(self) -> list[Any]:
        """The next series that is complete."""
        while True:
            with self._lock:
                for uid, at in self._last.items():
                    if time.monotonic() - at >= self._quiet:
                        del self._last[uid]
                        return self._series.pop(uid)
            time.sleep(0.02)


def main() -> None:
    """Serve until SIGTERM; one line a study says that it was delivered and how long its steps took."""
    *networks, quiet, destination, port = sys.argv[1:]
    analysis = Analysis(networks, destination)
    receiver = Receiver(int(port), float(quiet))
    while True:
        print("delivered", json.dumps(analysis.answer(receiver.wait())), flush=True)


if __name__ == "__main__":
    main()
