"""A receiver as pynetdicom's examples suggest, made durable: raw write and fsync before the response.

python -m benchmarks.peers.pynetdicom_store FOLDER PORT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

_MAXIMUM_PDU_BYTES = 131_072


def main() -> None:
    """Receive until SIGTERM."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])

    def store(event: Any) -> int:
        path = folder / f"{event.request.AffectedSOPInstanceUID}.dcm"
        with path.open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        return 0x0000

    ae = AE("EDGE")
    ae.maximum_pdu_size = _MAXIMUM_PDU_BYTES
    ae.add_supported_context(CTImageStorage)
    ae.add_supported_context(Verification)
    ae.start_server(("127.0.0.1", port), block=True, evt_handlers=[(evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main()
