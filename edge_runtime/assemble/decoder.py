"""A pool of decode processes: a hostile or broken file costs one process and no other file."""

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import CancelledError, Future
from pathlib import Path

from edge_runtime.assemble.decoded import DecodedObject
from edge_runtime.assemble.worker_process import WorkerLost, WorkerProcess
from edge_runtime.config import Decode
from edge_runtime.errors import DecodeRefused
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.assemble")

_Task = tuple[Path, "Future[DecodedObject]"]


class DecodePool:
    """`config.workers` processes, kept warm, that share one queue in order of submission.

    Each is started, asked and replaced by a thread of its own; that thread lives as long as its process, for the
    process is told to die with the thread that started it.
    """

    def __init__(self, config: Decode, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closing = False
        self._workers: dict[int, WorkerProcess] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"decode-{slot}", daemon=True)
            for slot in range(config.workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, path: Path) -> Future[DecodedObject]:
        """Queue one file. The future raises DecodeRefused, or CancelledError when the pool is closed first."""
        future: Future[DecodedObject] = Future()
        with self._lock:
            if self._closing:
                raise RuntimeError("the decode pool is closed")
            self._tasks.put((path, future))
        return future

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the processes that run now."""
        with self._lock:
            return tuple(worker.pid for worker in self._workers.values())

    def close(self) -> None:
        """End the processes; what is queued or under way is cancelled."""
        with self._lock:
            self._closing = True
            for worker in self._workers.values():
                worker.kill()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, slot: int) -> None:
        self._start(slot)
        while (task := self._tasks.get()) is not None:
            path, future = task
            if self._closing or not future.set_running_or_notify_cancel():
                future.cancel()
                continue
            try:
                future.set_result(self._decode(slot, path))
            except (DecodeRefused, CancelledError) as refusal:
                future.set_exception(refusal)
            except Exception as error:  # a slot that died would leave its share of the queue waiting for ever
                log.exception("decoding raised an unexpected error")
                self._metrics.count("edge_decode_objects_total", outcome="unexpected_error")
                future.set_exception(error)
        self._retire(slot)

    def _decode(self, slot: int, path: Path) -> DecodedObject:
        started = time.monotonic()
        outcome = "decoded"
        try:
            decoded = self._worker(slot).decode(path)
        except WorkerLost as lost:
            if self._closing:
                outcome = "cancelled"
                raise CancelledError from None
            outcome = lost.reason
            self._retire(slot)
            self._metrics.count("edge_decode_worker_replacements_total", reason=lost.reason)
            log.warning("decode process replaced", extra={"event": {"slot": slot, "reason": lost.reason}})
            self._start(slot)
            raise
        except DecodeRefused as refused:
            outcome = refused.reason
            raise
        finally:
            self._metrics.count("edge_decode_objects_total", outcome=outcome)
            self._metrics.observe("edge_decode_seconds", time.monotonic() - started)
        self._metrics.count("edge_decoded_bytes_total", decoded.frames.nbytes)
        return decoded

    def _worker(self, slot: int) -> WorkerProcess:
        """The slot's process; a new one when the last did not start, or was ended from outside while it was idle."""
        worker = self._workers.get(slot)
        if worker is not None and not worker.running:
            self._retire(slot)
            self._metrics.count("edge_decode_worker_replacements_total", reason="ended_idle")
            worker = None
        worker = worker or self._start(slot)
        if worker is None:
            raise DecodeRefused("decode_unavailable", "no decode process could be started; its log line says why")
        return worker

    def _start(self, slot: int) -> WorkerProcess | None:
        try:
            worker = WorkerProcess(self._config)
        except (WorkerLost, OSError) as error:
            log.error("decode process did not start", extra={"event": {"slot": slot, "error": str(error)}})
            return None
        with self._lock:
            self._workers[slot] = worker
            if self._closing:
                worker.kill()
        return worker

    def _retire(self, slot: int) -> None:
        with self._lock:
            worker = self._workers.pop(slot, None)
        if worker is not None:
            worker.end()
