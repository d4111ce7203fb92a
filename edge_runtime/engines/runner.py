"""A loaded engine with its streams, and runners of it with buffers of their own, all allocated once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np

from edge_runtime.backends.base import Backend, Session
from edge_runtime.device.base import Buffer, Device, Stream
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.errors import EngineError, EngineRejected, InferenceFailed

Turn = Callable[[], AbstractContextManager[float]]
"""Waits until the engine may run, and says how many seconds that took. Nobody else runs the engine meanwhile."""


@dataclass(frozen=True, eq=False)
class EngineStreams:
    """The way in, the network, the way out. Where host and device share memory nothing is copied: there is one."""

    upload: Stream
    run: Stream
    download: Stream

    def reset(self) -> None:
        """Forget a failure of any."""
        for stream in dict.fromkeys((self.upload, self.run, self.download)):
            stream.reset()

    def close(self) -> None:
        """Give all of them back."""
        for stream in dict.fromkeys((self.upload, self.run, self.download)):
            stream.close()


class EngineRunner:
    """Runs one engine, one input at a time. The output's memory is used again by the runner's next run.

    Runners of one engine (`another`) share its network and streams, and have buffers of their own: while one runs, the
    input of the next is copied in and the output of the one before is copied out.
    """

    def __init__(
        self, card: Card, session: Session, device: Device, turn: Turn | None = None, of: EngineRunner | None = None
    ) -> None:
        self.card = card
        self._session, self._device, self._of = session, device, of
        tensors = session.inputs + session.outputs
        self._buffers: dict[str, Buffer] = {t.name: device.empty(t.shape, t.dtype) for t in tensors}
        self._input = device.view(self._buffers[card.input.name])
        shared = device.view(self._buffers[card.output.name])
        self._output: Array = np.zeros(card.output.shape, card.output.dtype) if shared is None else shared
        self._streams: EngineStreams = _streams(device, shared is not None) if of is None else of._streams
        self._uploaded, self._began, self._ended, self._downloaded = (device.event() for _ in range(4))
        self._turn: Turn = turn or _one_at_a_time()
        self.engine_seconds = 0.0  # of the last run: the network alone
        self.waited_seconds = 0.0  # of the last run: for its turn

    def another(self, turn: Turn) -> EngineRunner:
        """One more runner of this engine. It ends with this one."""
        return EngineRunner(self.card, self._session, self._device, turn, self)

    def run(self, prepared: Array) -> Array:
        """One run; returns the card's output. `prepared` has the card's input shape and element type.

        Raises:
            InferenceFailed: the library failed on this input; the next run starts anew.
            EngineError: the input does not fit, or the runner is closed.
        """
        if not self._buffers:
            raise EngineError(f"the runner of engine {self.card.name} is closed")
        if self._input is None:
            self._run_with_copies(prepared)
        else:
            self._run_in_place(prepared, self._input)
        self.engine_seconds = self._ended.elapsed_seconds(self._began)
        return self._output

    def _run_in_place(self, prepared: Array, memory: Array) -> None:
        if prepared.shape != memory.shape or prepared.dtype != memory.dtype:
            raise EngineError(f"cannot copy {prepared.dtype} {prepared.shape} into the input of engine "
                              f"{self.card.name}, {memory.dtype} {memory.shape}")  # fmt: skip
        np.copyto(memory, prepared)
        with self._turn() as self.waited_seconds:
            self._enqueue(self._streams.run)
            self._finish_turn()

    def _run_with_copies(self, prepared: Array) -> None:
        streams, buffers = self._streams, self._buffers
        self._device.upload(prepared, buffers[self.card.input.name], streams.upload)
        streams.upload.record(self._uploaded)
        with self._turn() as self.waited_seconds:
            streams.run.wait(self._uploaded)
            self._enqueue(streams.run)
            streams.download.wait(self._ended)
            self._device.download(buffers[self.card.output.name], self._output, streams.download)
            streams.download.record(self._downloaded)
            self._finish_turn()
        self._downloaded.synchronize()

    def _enqueue(self, stream: Stream) -> None:
        stream.record(self._began)
        self._session.enqueue(self._buffers, stream)
        stream.record(self._ended)

    def _finish_turn(self) -> None:
        try:
            self._ended.synchronize()
        except InferenceFailed:
            self._streams.reset()
            raise

    def close(self) -> None:
        """Free the buffers; with the engine's first runner its streams and network too. A second call does nothing."""
        self._buffers.clear()
        if self._of is None:
            self._streams.close()
            self._session.close()


def load_runner(engine: VerifiedEngine, backend: Backend, device: Device, turn: Turn | None = None) -> EngineRunner:
    """Give verified bytes to their library and check that the network has the card's input and output.

    Raises:
        EngineRejected: the library does not take the engine, or its tensors are not those of the card.
    """
    card = engine.card
    try:
        session = backend.load(engine.data, device)
    except EngineRejected as error:
        raise EngineRejected(f"engine {card.name}: {error}") from error
    inputs = {t.name: (t.shape, t.dtype) for t in session.inputs}
    outputs = {t.name: (t.shape, t.dtype) for t in session.outputs}
    if inputs != {card.input.name: (card.input.shape, card.input.dtype)}:
        raise EngineRejected(f"engine {card.name}: its inputs are {inputs}, the card says {card.input}")
    if outputs.get(card.output.name) != (card.output.shape, card.output.dtype):
        raise EngineRejected(f"engine {card.name}: its outputs are {outputs}, the card says {card.output}")
    return EngineRunner(card, session, device, turn)


def _streams(device: Device, shared: bool) -> EngineStreams:
    run = device.stream()
    return EngineStreams(run, run, run) if shared else EngineStreams(device.stream(), run, device.stream())


def _one_at_a_time() -> Turn:
    """The turn of an engine that nothing else shares the device with."""
    lock = threading.Lock()

    @contextmanager
    def turn() -> Iterator[float]:
        with lock:
            yield 0.0

    return turn
