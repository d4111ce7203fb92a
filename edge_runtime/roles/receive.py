"""receive: speaks DICOM, writes bytes, and keeps the disk from filling. It decodes nothing."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.errors import SpoolError
from edge_runtime.receive.server import DicomServer
from edge_runtime.roles.link import Link
from edge_runtime.spool.receipt import Receipt
from edge_runtime.spool.retention import Sweeper, free_bytes
from edge_runtime.spool.spool import Spool, open_spool, take_in_missing
from edge_runtime.spool.states import INSTANCE_STATES
from edge_runtime.telemetry.metrics import Metrics
from edge_runtime.yaml_schema import read_schema

log = logging.getLogger("edge_runtime.receive")

SWEEP_SECONDS = 10.0
_SWEEP_BOUND_SECONDS = 600.0
_BATCH = 200
_GATHER_SECONDS = 0.05
_RETRY_SECONDS = 1.0


class Indexer(threading.Thread):
    """Tells the journal of stored instances, a batch at a time, and wakes infer up. The files are already durable."""

    def __init__(self, spool: Spool, link: Link, metrics: Metrics) -> None:
        super().__init__(name="indexer", daemon=True)
        self._spool = spool
        self._link = link
        self._metrics = metrics
        self._finishing = threading.Event()
        self._queue: queue.SimpleQueue[Receipt | None] = queue.SimpleQueue()

    def add(self, receipt: Receipt) -> None:
        """Called after an instance became durable."""
        self._metrics.set("edge_receive_last_instance_timestamp_seconds", receipt.arrival.received_at)
        self._queue.put(receipt)

    def finish(self) -> None:
        """Write down what waits and end."""
        self._finishing.set()
        self._queue.put(None)
        self.join(5.0)

    def run(self) -> None:
        """Until `finish`."""
        ended = False
        while not ended:
            batch = [self._queue.get()]
            self._finishing.wait(_GATHER_SECONDS)  # fewer, larger transactions: the files are durable already
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            ended = None in batch
            receipts = [receipt for receipt in batch if receipt is not None]
            if receipts:
                self._tell(receipts)
                self._link.hint("infer")

    def _tell(self, receipts: list[Receipt]) -> None:
        """Until the journal takes it; should the process end first, the next one finds the files."""
        while True:
            try:
                self._spool.instances.add(receipts)
            except SpoolError:
                log.exception("the journal takes no news of stored images")
                self._link.reason("journal", "the journal cannot be written: images are stored and wait")
                time.sleep(_RETRY_SECONDS)
            else:
                self._link.reason("journal", None)
                return


def run(config: Config, link: Link, metrics: Metrics) -> None:
    """Receive until stopped."""
    spool = open_spool(config)
    spool.store.recover()
    take_in_missing(spool)
    newest = spool.instances.last_received_at()
    if newest is not None:
        metrics.set("edge_receive_last_instance_timestamp_seconds", newest)
    indexer = Indexer(spool, link, metrics)
    indexer.start()
    server = DicomServer(config.receive.dicom, spool.store, indexer.add, metrics)
    server.start()
    sweeper = Sweeper(spool.layout, spool.journal, spool.store, config.retention, config.spool.reserve_bytes)
    link.ready()
    next_sweep = 0.0
    cut_short = False
    while not link.stopped.wait(1.0):
        link.beat()
        changed = link.new_configuration()
        if changed is not None:
            config = _configure(changed, spool, server)
            sweeper = Sweeper(spool.layout, spool.journal, spool.store, config.retention, config.spool.reserve_bytes)
            link.configured(changed[0])
        if not indexer.is_alive():
            raise SpoolError("the journal takes no more news of stored images; they are safe in the files")
        if time.monotonic() >= next_sweep:
            with link.progress("retention", "", _SWEEP_BOUND_SECONDS):
                try:
                    if cut_short:  # its deletions are decided in the journal, and the files are still there
                        take_in_missing(spool)
                    _keep_house(spool, sweeper, config, link, metrics)
                except (OSError, SpoolError):  # images are still received, or refused one by one
                    cut_short = True
                    log.exception("retention failed")
                    link.reason("retention", "retention fails; the log says why")
                else:
                    cut_short = False
                    link.reason("retention", None)
            next_sweep = time.monotonic() + SWEEP_SECONDS
    server.stop(link.drain_seconds)
    indexer.finish()
    spool.close()


def _configure(arguments: Sequence[str], spool: Spool, server: DicomServer) -> Config:
    """Work with another configuration from now on; open associations end with the one that they began with."""
    config = read_schema(Config, Path(arguments[0]), arguments[1:])
    spool.store.keep_free(config.spool.reserve_bytes)
    server.configure(config.receive.dicom)
    log.info("receiving goes on with the new configuration")
    return config


def _measure_disk(spool: Spool, config: Config, metrics: Metrics) -> float:
    free = free_bytes(spool.layout)
    metrics.set("edge_spool_free_bytes", free)
    metrics.set("edge_spool_reserve_bytes", config.spool.reserve_bytes)
    return free


def _keep_house(spool: Spool, sweeper: Sweeper, config: Config, link: Link, metrics: Metrics) -> None:
    _measure_disk(spool, config, metrics)
    swept = sweeper.sweep(time.time())
    if swept.originals or swept.results:
        event = {"originals": swept.originals, "results": swept.results, "freed_bytes": swept.freed_bytes}
        log.info("retention deleted", extra={"event": event})
    metrics.count("edge_spool_deleted_total", swept.originals, what="originals")
    metrics.count("edge_spool_deleted_total", swept.results, what="results")
    free = _measure_disk(spool, config, metrics)
    counts = spool.instances.counts()
    for state in INSTANCE_STATES:
        metrics.set("edge_spool_instances", counts.get(state, 0), state=state)
    short = free < config.spool.reserve_bytes
    text = f"the spool has {free} bytes free, below its reserve of {config.spool.reserve_bytes}: C-STORE answers 0xA700"
    link.reason("reserve", text if short else None)
