"""Decoding before its time: while a series arrives, while its quiet time runs, while another job is at work."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from edge_runtime.assemble.decoded import DecodedObject
from edge_runtime.assemble.header import SeriesHeader
from edge_runtime.errors import DecodeRefused
from edge_runtime.spool.receipt import Receipt

AHEAD_BYTES = 256_000_000
"""Decoded bytes that may wait for their job. What arrives beyond is decoded when it is next."""

TRIED_TWICE = ("decode_crashed", "decode_unavailable")
"""What may be the end of an innocent process, by the kernel's choice or a person's; the file itself is no worse."""

_BYTES_A_PIXEL = 4


class Decoder(Protocol):
    """Where a stored instance is decoded."""

    def __call__(self, receipt: Receipt) -> Future[DecodedObject]:
        """Begin; the future raises DecodeRefused where the object cannot be decoded."""


class Ahead:
    """Decodes images before their job runs, as far as memory goes. Two threads use it."""

    def __init__(self, decode: Decoder, limit_bytes: int = AHEAD_BYTES) -> None:
        self._decode = decode
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}  # decoded, of what was seen and not yet taken
        self._futures: dict[str, Future[DecodedObject]] = {}
        self._bytes = 0

    def start(self, receipt: Receipt, header: SeriesHeader) -> None:
        """Decode an instance that has just arrived, unless too much waits already."""
        with self._lock:
            self._sizes[receipt.id] = _BYTES_A_PIXEL * header.number_of_frames * header.rows * header.columns
            self._begin(receipt)

    def go_on(self, receipts: Sequence[Receipt]) -> None:
        """Decode what the next job needs, as far as there is room."""
        with self._lock:
            for receipt in receipts:
                self._begin(receipt)

    def take(self, receipts: Sequence[Receipt]) -> list[DecodedObject]:
        """The decoded objects of a job, waiting for those that are not ready.

        Raises:
            DecodeRefused: of the first that cannot be decoded.
        """
        with self._lock:
            ready = {r.id: self._futures.pop(r.id) for r in receipts if r.id in self._futures}
            self._bytes -= sum(self._sizes[key] for key in ready)
            for receipt in receipts:
                self._sizes.pop(receipt.id, None)
        futures = [ready[r.id] if r.id in ready else self._decode(r) for r in receipts]
        return [self._decoded(receipt, future) for receipt, future in zip(receipts, futures, strict=True)]

    def forget(self) -> None:
        """Let go of everything: no job is left that could ask for it, so it was for one that has ended otherwise."""
        with self._lock:
            self._futures.clear()
            self._sizes.clear()
            self._bytes = 0

    def _begin(self, receipt: Receipt) -> None:
        size = self._sizes.setdefault(receipt.id, 2 * receipt.size_bytes)
        if receipt.id not in self._futures and self._bytes + size <= self._limit_bytes:
            self._futures[receipt.id] = self._decode(receipt)
            self._bytes += size

    def _decoded(self, receipt: Receipt, future: Future[DecodedObject]) -> DecodedObject:
        try:
            return future.result()
        except DecodeRefused as refused:
            if refused.reason not in TRIED_TWICE:
                raise
        return self._decode(receipt).result()
