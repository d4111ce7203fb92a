"""What the server knows of a stored instance at the moment it says Success."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arrival:
    """An instance that is about to be received: who sends what to whom. `received_at` is Unix seconds (UTC)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    caller_ae_title: str
    caller_host: str
    called_ae_title: str
    received_at: float


@dataclass(frozen=True)
class Receipt:
    """A durable instance. `id` was made here and names the file; hash and size are the data set's, as received."""

    id: str
    arrival: Arrival
    sha256: str
    size_bytes: int
