"""Results to a PACS by C-STORE (PS3.4 Annex B)."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from edge_runtime.deliver.association import Association, associate
from edge_runtime.deliver.base import Delivery, Outcome, Parcel, Reason, SendFailed, network_bound_seconds
from edge_runtime.deliver.part10 import Part10, open_part10
from edge_runtime.deliver.policy import delivery_of_status

# Its debug messages show data sets and PDUs: patient data.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Peer:
    """Where a PACS listens and who calls whom."""

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str


class DicomDestination:
    """A PACS. Proposes only what is sent; sends each data set as its file holds it."""

    def __init__(self, name: str, peer: Peer, timeout_seconds: float) -> None:
        self._name = name
        self._peer = peer
        self._timeout_seconds = timeout_seconds
        self._association: Association | None = None

    @property
    def name(self) -> str:
        """The destination's name in the configuration."""
        return self._name

    def bound_seconds(self, size_bytes: int) -> float:
        """See `Destination`."""
        return network_bound_seconds(size_bytes, self._timeout_seconds)

    def send_many(self, parcels: Sequence[Parcel]) -> Generator[Delivery, None, None]:
        """Send over one association; a new one after it broke, so that one object cannot poison the others."""
        opened = [_opened(parcel) for parcel in parcels]
        away: Delivery | None = None
        try:
            for index, item in enumerate(opened):
                if isinstance(item, Delivery):
                    yield item
                    continue
                if away is None and self._association is None:
                    away = self._associate([rest for rest in opened[index:] if isinstance(rest, Part10)])
                yield away or self._store(item)
        finally:
            if self._association is not None:
                self._association.release()
                self._association = None
            for item in opened:
                if isinstance(item, Part10):
                    item.file.close()

    def close(self) -> None:
        """Give up what is being sent, as deferred. May come from another thread."""
        association = self._association
        if association is not None:
            association.interrupt()

    def _associate(self, objects: Sequence[Part10]) -> Delivery | None:
        peer = self._peer
        try:
            self._association = associate(
                peer.host,
                peer.port,
                peer.called_ae_title,
                peer.calling_ae_title,
                [item.context for item in objects],
                self._timeout_seconds,
            )
        except SendFailed as failure:
            return failure.delivery
        return None

    def _store(self, part10: Part10) -> Delivery:
        association = self._association
        assert association is not None
        if not association.accepts(part10.context):
            detail = f"the peer takes no {part10.sop_class_uid} in {part10.transfer_syntax_uid}"
            return Delivery(Outcome.PARKED, Reason.REFUSED_CONTEXT, detail)
        try:
            return delivery_of_status(association.store(part10))
        except SendFailed as failure:
            association.abort()
            self._association = None
            return failure.delivery


def _opened(parcel: Parcel) -> Part10 | Delivery:
    try:
        return open_part10(parcel)
    except SendFailed as failure:
        return failure.delivery
