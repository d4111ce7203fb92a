"""A loaded engine with its stream and its buffers, all allocated once."""

from __future__ import annotations

import numpy as np

from edge_runtime.backends.base import Backend, Session
from edge_runtime.device.base import Buffer, Device, Stream
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.errors import EngineError, EngineRejected, InferenceFailed


class EngineRunner:
    """Runs one engine, one input at a time. The output's memory is used again by the next run."""

    def __init__(self, card: Card, session: Session, device: Device) -> None:
        self.card = card
        self._session = session
        self._device = device
        self._stream: Stream = device.stream()
        self._began, self._ended = device.event(), device.event()
        tensors = session.inputs + session.outputs
        self._buffers: dict[str, Buffer] = {t.name: device.empty(t.shape, t.dtype) for t in tensors}
        shared = device.view(self._buffers[card.output.name])
        self._shared = shared is not None
        self._output: Array = np.zeros(card.output.shape, card.output.dtype) if shared is None else shared
        self.engine_seconds = 0.0  # of the last run: the network alone

    def run(self, prepared: Array) -> Array:
        """One run; returns the card's output. `prepared` has the card's input shape and element type.

        Raises:
            InferenceFailed: the library failed on this input; the next run starts anew.
            EngineError: the input does not fit, or the runner is closed.
        """
        buffers, stream = self._buffers, self._stream
        if not buffers:
            raise EngineError(f"the runner of engine {self.card.name} is closed")
        self._device.upload(prepared, buffers[self.card.input.name], stream)
        stream.record(self._began)
        self._session.enqueue(buffers, stream)
        stream.record(self._ended)
        if not self._shared:
            self._device.download(buffers[self.card.output.name], self._output, stream)
        try:
            stream.synchronize()
        except InferenceFailed:
            stream.reset()
            raise
        self.engine_seconds = self._ended.elapsed_seconds(self._began)
        return self._output

    def close(self) -> None:
        """Free stream, buffers and network; a second call does nothing."""
        self._stream.close()
        self._session.close()
        self._buffers.clear()


def load_runner(engine: VerifiedEngine, backend: Backend, device: Device) -> EngineRunner:
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
    return EngineRunner(card, session, device)
