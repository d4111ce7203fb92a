"""The local socket between a role and the supervisor: heartbeats, metrics and wake-ups. Losing it all loses nothing.

A message is one JSON object in one SEQPACKET datagram:
  role -> supervisor   {"state": {...}}  {"metrics": [...]}  {"hint": role}
  supervisor -> role   {"hint": true}  {"stop": drain_seconds, "replaced": bool}  {"configure": [FILE, KEY=VALUE ...]}
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edge_runtime.errors import EXIT_FAILURE
from edge_runtime.frames.channels import Channels
from edge_runtime.telemetry.metrics import Sample

REPORT_EVERY_SECONDS = 0.5
ORPHAN_SECONDS = 1.0
_SAMPLES_A_MESSAGE = 500
_BUFFER_BYTES = 1_000_000


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end and the role's end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    ours.setblocking(False)
    return ours, theirs


def send(end: socket.socket, message: dict[str, Any]) -> bool:
    """Send one message if the other end takes it at once; False when it does not."""
    try:
        end.send(json.dumps(message).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


class Link:
    """The role's end. `stopped` is set when the supervisor asks, or is gone."""

    def __init__(
        self,
        end: socket.socket,
        snapshot: Callable[[], list[Sample]],
        source: str = "",
        channels: Channels | None = None,
    ) -> None:
        self.source = source  # of live frames: what this process captures
        self.channels = channels  # what the processes of live frames share; None without video
        self.stopped = threading.Event()
        self.hinted = threading.Event()
        self.replaced = False  # with `stopped`: the daemon goes on, with another process in this role
        self._drain_until = 0.0
        self._configuration = ""
        self._new_configuration: tuple[str, ...] | None = None
        self._engines: dict[str, str] | None = None
        self._gpu: str | None = None
        end.set_inheritable(False)  # a child of the role must not keep the link open
        self._end = end
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._ready = False
        self._reasons: dict[str, str] = {}
        self._activities: dict[str, tuple[str, float]] = {}
        self._beat_at = time.monotonic()

    def start(self) -> None:
        """Start listening and reporting."""
        threading.Thread(target=self._listen, name="link-listen", daemon=True).start()
        threading.Thread(target=self._report, name="link-report", daemon=True).start()

    @property
    def drain_seconds(self) -> float:
        """After `stopped`: how long what was begun may still take. A later message may make it shorter."""
        return max(0.0, self._drain_until - time.monotonic())

    def configured(self, file: str) -> None:
        """The role works with the configuration that was read from `file`."""
        with self._lock:
            self._configuration = file

    def new_configuration(self) -> tuple[str, ...] | None:
        """The file and overrides of a configuration to work with from now on; None when there is no new one."""
        with self._lock:
            arguments, self._new_configuration = self._new_configuration, None
        return arguments

    def engines(self, marks: dict[str, str]) -> None:
        """The role works with the engines of these marks."""
        with self._lock:
            self._engines = marks

    def gpu(self, pci_bus_id: str | None) -> None:
        """The role works on the GPU at this address ("": it has none); None: on none."""
        with self._lock:
            self._gpu = pci_bus_id

    def beat(self) -> None:
        """The role's main loop has turned."""
        self._beat_at = time.monotonic()

    def ready(self) -> None:
        """The role does its work."""
        with self._lock:
            self._ready = True
        self._send_state()

    def reason(self, key: str, text: str | None) -> None:
        """Say why the role is not fully ready, or with None that this reason is over."""
        with self._lock:
            if text is None:
                self._reasons.pop(key, None)
            else:
                self._reasons[key] = text

    def hint(self, role: str) -> None:
        """Wake another role up."""
        send(self._end, {"hint": role})

    @contextmanager
    def progress(self, activity: str, item: str, bound_seconds: float) -> Iterator[None]:
        """While inside: `item` is worked on, and the role has hung if that takes longer than the bound."""
        self.begin(activity, item, bound_seconds)
        try:
            yield
        finally:
            self.end(activity)

    def begin(self, activity: str, item: str, bound_seconds: float) -> None:
        """`item` is worked on from now, and the role has hung if that takes longer than the bound."""
        with self._lock:
            self._activities[activity] = (item, time.monotonic() + bound_seconds)
        self._send_state()

    def end(self, activity: str) -> None:
        """The activity is over."""
        with self._lock:
            known = self._activities.pop(activity, None)
        if known is not None:
            self._send_state()

    def _send_state(self) -> None:
        with self._lock:
            state = {
                "ready": self._ready,
                "reasons": dict(self._reasons),
                "activities": dict(self._activities),
                "beat_at": self._beat_at,
                "configuration": self._configuration,
                "engines": self._engines,
                "gpu": self._gpu,
            }
        send(self._end, {"state": state})

    def flush(self) -> None:
        """Send the state and all metrics now."""
        self._send_state()
        samples = self._snapshot()
        for start in range(0, len(samples), _SAMPLES_A_MESSAGE):
            send(self._end, {"metrics": samples[start : start + _SAMPLES_A_MESSAGE]})

    def last_words(self, text: str) -> None:
        """Say why the role ends."""
        self.reason("end", text)
        self.flush()

    def _report(self) -> None:
        while not self.stopped.wait(REPORT_EVERY_SECONDS):
            self.flush()

    def _listen(self) -> None:
        while data := self._receive():
            message = json.loads(data)
            if "stop" in message:
                self._drain_until = time.monotonic() + float(message["stop"])
                self.replaced = bool(message.get("replaced", False))
                self.stopped.set()
                self.hinted.set()
            if "configure" in message:
                with self._lock:
                    self._new_configuration = tuple(message["configure"])
            if "hint" in message:
                self.hinted.set()
        self.stopped.set()
        self.hinted.set()
        time.sleep(ORPHAN_SECONDS)
        os._exit(EXIT_FAILURE)  # the supervisor is gone: whatever this was doing, it is in the spool

    def _receive(self) -> bytes:
        try:
            return self._end.recv(_BUFFER_BYTES)
        except OSError:
            return b""
