"""Sign an engine that was built before: for the one who has the key and did not build."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_runtime.engines.passport import PASSPORT_FILE, reseal
from edge_runtime.engines.verify import verify, verify_documents


def sign(folder: Path, key: Ed25519PrivateKey) -> None:
    """Verify a built engine and put a new signature into its passport, which is replaced whole or not at all.

    It may be one for another machine, one that was not measured, or one that another key has signed. What it says
    stays as it is.

    Raises:
        ConfigurationError: its card is missing or wrong.
        EngineRejected: the folder is not what its passport describes; nothing was signed.
    """
    folder = Path(os.path.abspath(folder))
    verify(folder, (), allow_unsigned=True, allow_ungated=True, any_machine=True)
    verify_documents(folder)
    file = folder / PASSPORT_FILE
    signed = reseal(file.read_bytes(), key)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{PASSPORT_FILE}.", delete=False) as stream:
        temporary = Path(stream.name)
        try:
            stream.write(signed)
            stream.flush()
            os.fsync(stream.fileno())
            temporary.chmod(file.stat().st_mode & 0o777)
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
