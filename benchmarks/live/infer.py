"""The real `infer` in its own process, with this process in the place of its neighbours.

It is started as the supervisor starts it. This process is its supervisor, the source of its frames, and the receiver of
its results: one thread, that waits for what comes first.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType

from benchmarks.child import bound
from benchmarks.live.answer import Answers, answers_of
from benchmarks.live.site import SOURCE
from benchmarks.load.arrivals import fixed_rate
from benchmarks.record import BenchFailed
from edge_runtime.config import Config
from edge_runtime.domain import Array
from edge_runtime.frames.channels import VARIABLE, create_channels
from edge_runtime.frames.frame_result import FrameResult, decode
from edge_runtime.frames.slot import SlotWriter
from edge_runtime.metrics import METRICS
from edge_runtime.roles.link import send, socket_pair
from edge_runtime.spool.spool import prepare_spool
from edge_runtime.yaml_schema import read_schema

READY_SECONDS = 120.0
_MESSAGE_BYTES = 4_000_000
_STOP_SECONDS = 5.0
_AHEAD_SECONDS = 0.05
_PATIENCE_SECONDS = 0.5  # after the last frame's deadline


@dataclass(frozen=True, eq=False)
class Arrived:
    """A result: the number of its frame in the order of arrival, and seconds from the frame's arrival on."""

    number: int
    latency: float
    result: FrameResult

    @property
    def answers(self) -> Answers:
        """What it says."""
        return answers_of(self.result.analysis)


@dataclass(frozen=True, eq=False)
class Played:
    """What came of frames that arrived a number a second. `lags`: how late each was published, seconds."""

    results: tuple[Arrived, ...]
    seconds: float
    lags: tuple[float, ...]
    refused: int = 0  # frames for which no buffer was free

    @property
    def latencies(self) -> list[float]:
        """Of the results, in their order; seconds."""
        return [one.latency for one in self.results]

    @property
    def unanswered(self) -> int:
        """How many of the frames have no result."""
        return len(self.lags) - len(self.results)

    def within(self, deadline_seconds: float) -> int:
        """How many results had come when the deadline had passed."""
        return sum(one.latency <= deadline_seconds for one in self.results)


class LiveInfer:
    """The process, its engines loaded; a context manager."""

    def __init__(self, config: Path, log: Path, module: str = "edge_runtime.roles.main") -> None:
        """`module` is what the process runs."""
        self._file, self._log, self._module = config, log, module
        self._config = read_schema(Config, config)
        self._samples: dict[tuple[str, tuple[str, ...]], float] = {}
        self._ready = False

    def __enter__(self) -> LiveInfer:
        prepare_spool(self._config)
        self._channels = create_channels(self._config)
        self._writer = SlotWriter(self._channels.sources[SOURCE].frames)
        self._results = socket.socket(fileno=os.dup(self._channels.results_out))
        self._end, theirs = socket_pair()
        command = [sys.executable, "-m", self._module, "infer", str(theirs.fileno()), str(self._file)]
        environment = {**os.environ, VARIABLE: self._channels.to_text()}
        inherited = [theirs.fileno(), *self._channels.descriptors()]
        with theirs, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                bound(command), pass_fds=inherited, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            self._wait_ready()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def play(self, frames: Array, rate: float, count: int, first: int = 0) -> Played:
        """Publish `count` of the prepared frames, `rate` a second, and take what is said of them.

        Open loop: a frame has its moment, whatever became of the one before. uint8 (frames, rows, columns, 3).

        Raises:
            BenchFailed: the process has ended.
        """
        _drain(self._results)
        seen, began = _Seen(), time.monotonic() + _AHEAD_SECONDS
        for number, moment in enumerate(islice(fixed_rate(rate), count)):
            due = began + moment
            while (left := due - time.monotonic()) > 0:
                self._listen(seen, left)
            header = self._writer.publish(frames[(first + number) % len(frames)], due, time.time())
            seen.lags.append(time.monotonic() - due)
            if header is not None:
                seen.due[header.sequence] = number, due
        patience = self._config.live_deadline_seconds(self._config.video[0]) + _PATIENCE_SECONDS
        while seen.open and (left := began + count / rate + patience - time.monotonic()) > 0:
            self._listen(seen, left)
        for data in seen.told:
            self._hear(data)
        return seen.played(began)

    def _listen(self, seen: _Seen, seconds: float) -> None:
        """Wait for something to come, and take it as it is: it is read when all is over."""
        ready, _, _ = select.select([self._results, self._end], [], [], seconds)
        if self._results in ready:
            seen.results.append((time.monotonic(), self._results.recv(_MESSAGE_BYTES)))
        if self._end in ready:
            seen.told.append(self._receive())

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of a counter or gauge that carry the labels, as the process told them last."""
        for data in _drain(self._end):
            self._hear(data)
        names = tuple(METRICS[name].labels)
        return sum(
            number
            for (known, values), number in self._samples.items()
            if known == name and labels.items() <= dict(zip(names, values, strict=True)).items()
        )

    def _hear(self, data: bytes) -> None:
        message = json.loads(data)
        self._ready = self._ready or message.get("state", {}).get("ready", False)
        for name, labels, value in message.get("metrics", ()):
            self._samples[name, tuple(labels)] = value[-1] if isinstance(value, list) else value

    def _wait_ready(self) -> None:
        give_up_at = time.monotonic() + READY_SECONDS
        while not self._ready:
            if time.monotonic() > give_up_at:
                raise BenchFailed(f"infer is not ready after {READY_SECONDS:.0f} s: {self._tail()}")
            if select.select([self._end], [], [], 1.0)[0]:
                self._hear(self._receive())

    def _receive(self) -> bytes:
        try:
            data = self._end.recv(_MESSAGE_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            raise BenchFailed(f"infer has ended: {self._tail()}")
        return data

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-1000:]

    def _close(self) -> None:
        send(self._end, {"stop": _STOP_SECONDS})
        try:
            self._process.wait(2 * _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._end.close()
        self._results.close()
        self._writer.close()
        self._channels.close()


@dataclass
class _Seen:
    """What a `play` has seen so far, unread. `due`: by sequence number, the frame's number and moment."""

    due: dict[int, tuple[int, float]] = field(default_factory=dict)
    results: list[tuple[float, bytes]] = field(default_factory=list)
    told: list[bytes] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether the newest frame has no result yet."""
        if not self.results:
            return True
        return decode(self.results[-1][1]).sequence < max(self.due, default=0)

    def played(self, began: float) -> Played:
        """Read the results of frames of this `play`."""
        found = []
        for at, data in self.results:
            result = decode(data)
            if result.sequence in self.due:
                number, due = self.due[result.sequence]
                found.append(Arrived(number, at - due, result))
        seconds = self.results[-1][0] - began if self.results else 0.0
        return Played(tuple(found), seconds, tuple(self.lags), len(self.lags) - len(self.due))


def _drain(end: socket.socket) -> list[bytes]:
    """All that has come."""
    found = []
    while select.select([end], [], [], 0)[0] and (data := end.recv(_MESSAGE_BYTES)):
        found.append(data)
    return found
