"""A DICOM server in a process of its own: prints its port, then each stored id, as JSON; stops at end of input."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path

from edge_runtime.config import DicomReceive
from edge_runtime.receive.server import DicomServer
from edge_runtime.spool.instances import InstanceStore
from edge_runtime.spool.receipt import Receipt
from edge_runtime.telemetry.metrics import NullMetrics


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--reserve-bytes", type=int, default=0)
    parser.add_argument("--config", default="{}", help="JSON: keys of receive.dicom")
    parser.add_argument("--quiet", action="store_true")
    arguments = parser.parse_args()
    config = DicomReceive(**{"host": "127.0.0.1", "port": 0, **json.loads(arguments.config)})
    lock = threading.Lock()

    def say(**event: object) -> None:
        with lock:
            print(json.dumps(event), flush=True)

    def on_stored(receipt: Receipt) -> None:
        if not arguments.quiet:
            say(stored=receipt.id)

    store = InstanceStore(arguments.root, arguments.reserve_bytes)
    store.recover()
    server = DicomServer(config, store, on_stored, NullMetrics())
    server.start()
    heavy = sorted({"pydicom", "pynetdicom", "numpy", "sqlite3"} & set(sys.modules))
    say(port=server.port, heavy=heavy)
    sys.stdin.read()
    server.stop(5.0)


if __name__ == "__main__":
    main()
