"""The DICOM port: accepts connections, gives each a thread, and drains at the end."""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from edge_runtime.config import DicomReceive
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.receive.association import Association, Surroundings
from edge_runtime.receive.doors import Doors
from edge_runtime.receive.negotiation import plain_address
from edge_runtime.spool.instances import InstanceStore
from edge_runtime.spool.receipt import Receipt
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.receive")

_BACKLOG = 128
_FLOOD_LOG_SECONDS = 10.0
_RETRY_SECONDS = 0.1


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        advice = "another program uses it; give another receive.dicom.port" if in_use else "see receive.dicom.host"
        raise EdgeRuntimeError(f"the DICOM port {host}:{port} cannot be opened: {error.strerror}; {advice}") from error
    listener.setblocking(False)
    return listener


class DicomServer:
    """Receives C-STORE and answers C-ECHO on one port, in threads of this process.

    `on_stored` is called for each durable instance, from the association's thread, after the response. It must be
    quick and thread-safe. Start and stop once.
    """

    def __init__(
        self, config: DicomReceive, store: InstanceStore, on_stored: Callable[[Receipt], None], metrics: Metrics
    ) -> None:
        self._config = config
        self._store = store
        self._on_stored = on_stored
        self._metrics = metrics
        self._doors = Doors(config)
        self._stopping = threading.Event()
        self._expired = threading.Event()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] = (-1, -1)
        self._flood_logged_at = float("-inf")

    def start(self) -> None:
        """Open the port and begin to accept.

        Raises:
            EdgeRuntimeError: the port is in use, or the address is not one of this machine.
        """
        config = self._config
        self._listener = _listen(config.host, config.port)
        self._wake = os.pipe()
        if config.callers is None:
            self._warn_of_any_caller()
        event = {"ae_title": config.ae_title, "host": config.host, "port": self.port}
        log.info("DICOM port open", extra={"event": event})
        self._thread = threading.Thread(target=self._accept_all, name="dicom-accept", daemon=True)
        self._thread.start()

    def configure(self, config: DicomReceive) -> None:
        """Take new callers, limits and title, from the next connection on. Address and port stay what they are."""
        self._config = config
        self._doors.configure(config)
        if config.callers is None:
            self._warn_of_any_caller()

    @property
    def port(self) -> int:
        """The TCP port, also where the configuration says 0."""
        assert self._listener is not None
        return int(self._listener.getsockname()[1])

    def stop(self, drain_seconds: float) -> None:
        """Accept no more, let running C-STOREs finish for `drain_seconds`, then abort what is left."""
        if self._thread is None or self._listener is None or self._stopping.is_set():
            return
        self._stopping.set()
        os.write(self._wake[1], b"\0")  # never read: it stays readable for every thread
        self._thread.join()
        self._listener.close()
        drained = self._doors.drained(drain_seconds)
        if not drained:
            self._expired.set()
            drained = self._doors.end_reading()
        if drained:  # else a thread may still look at it
            for descriptor in self._wake:
                os.close(descriptor)
        log.info("DICOM port closed", extra={"event": {"left": self._doors.associations}})

    def _accept_all(self) -> None:
        assert self._listener is not None
        surroundings = Surroundings(
            config=self._config,
            store=self._store,
            on_stored=self._on_stored,
            metrics=self._metrics,
            doors=self._doors,
            wake=self._wake[0],
            expired=self._expired.is_set,
        )
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        while not self._stopping.is_set():
            poll.poll()
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:  # the peer was gone again, or no descriptor is left for a moment
                log.warning("connection not accepted", extra={"event": {"cause": error.strerror}})
                time.sleep(_RETRY_SECONDS)
                continue
            current = replace(surroundings, config=self._config)
            self._greet(connection, plain_address(address[0]), current)

    def _greet(self, connection: socket.socket, host: str, surroundings: Surroundings) -> None:
        if not self._doors.arrive(connection, host):
            self._metrics.count("edge_receive_connections_shed_total")
            self._log_flood(host)
        try:
            association = Association(connection, host, surroundings)
            threading.Thread(target=association.run, name=f"dicom-{host}", daemon=True).start()
        except (OSError, RuntimeError) as error:  # gone again, or no thread is left
            log.warning("connection not served", extra={"event": {"host": host, "cause": str(error)}})
            self._doors.depart(connection)
            connection.close()

    def _warn_of_any_caller(self) -> None:
        log.warning("any caller is accepted; name them in receive.dicom.callers", extra={"event": {}})

    def _log_flood(self, host: str) -> None:
        now = time.monotonic()
        if now - self._flood_logged_at >= _FLOOD_LOG_SECONDS:
            self._flood_logged_at = now
            log.warning("too many connections without an association; the oldest are closed",
                        extra={"event": {"host": host}})  # fmt: skip
