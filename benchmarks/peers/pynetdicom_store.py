"""A receiver as pynetdicom's examples have it, `plain`; and made durable, `fsync`: raw write and fsync before Success.

python -m benchmarks.peers.pynetdicom_store plain|fsync FOLDER PORT
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
    way, folder, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

    def plain(event: Any) -> int:
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        data_set.save_as(folder / f"{data_set.SOPInstanceUID}.dcm", enforce_file_format=True)
        return 0x0000

    def fsync(event: Any) -> int:
        path = folder / f"{event.request.AffectedSOPInstanceUID}.dcm"
        with path.open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        return 0x0000

    ae = AE("EDGE")
    if way == "fsync":
        ae.maximum_pdu_size = _MAXIMUM_PDU_BYTES
    ae.add_supported_context(CTImageStorage)
    ae.add_supported_context(Verification)
    store = {"plain": plain, "fsync": fsync}[way]
    ae.start_server(("127.0.0.1", port), block=True, evt_handlers=[(evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main()
