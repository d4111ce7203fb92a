"""A bare engine on its device: its runs, one after the other or one ahead of the other."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.scenarios.engine_times import Runs
from edge_runtime.backends.base import Backend, LayerTime, Profiled, Session
from edge_runtime.device.base import Device, Stream
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.golden import golden_image
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.preprocess import compile_recipe

_AHEAD = 2
"""Runs on the stream at once where it is saturated: trtexec too keeps one ahead."""


class Bare:
    """A verified engine with its network, stream and buffers; runs on its golden input.

    Nothing of a pipeline is in it: no recipe, no decoding. Used by one thread at a time.

    Raises:
        EngineError: the library does not take the engine, or a run failed.
    """

    def __init__(self, engine: VerifiedEngine, backend: Backend, device: Device) -> None:
        self.prepared = golden_input(engine)
        self._session = backend.load(engine.data, device)
        self._stream = device.stream()
        self._slots = [_Slot(engine.card, self._session, device) for _ in range(_AHEAD)]

    def run(self, count: int) -> Runs:
        """So many runs, one after the other: the next begins when the output of the one before is there."""
        runs, slot = Runs(), self._slots[0]
        for _ in range(count):
            began = time.perf_counter()
            runs.enqueue.append(slot.issue(self.prepared, self._stream))
            self._stream.synchronize()
            runs.wall.append(time.perf_counter() - began)
            slot.tell(runs)
        return runs

    def saturate(self, count: int) -> None:
        """So many runs, of which the next is on the stream before the one before has ended."""
        for number in range(count):
            slot = self._slots[number % _AHEAD]
            if number >= _AHEAD:
                slot.ended.synchronize()
            slot.issue(self.prepared, self._stream)
        self._stream.synchronize()

    def layers(self, runs: int) -> tuple[LayerTime, ...]:
        """Each layer's time, the median of so many runs; nothing where the library tells none."""
        return self._session.profile(runs) if isinstance(self._session, Profiled) else ()

    def answer(self) -> Array:
        """The output of one run, a copy."""
        self.run(1)
        return self._slots[0].output.copy()

    def close(self) -> None:
        """Free stream and network."""
        self._stream.close()
        self._session.close()


class _Slot:
    """Buffers and events of one run."""

    def __init__(self, card: Card, session: Session, device: Device) -> None:
        self._card, self._session, self._device = card, session, device
        self._buffers = {t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs}
        self.output: Array = np.zeros(card.output.shape, card.output.dtype)
        self._began, self._uploaded, self._computed, self.ended = (device.event() for _ in range(4))

    def issue(self, prepared: Array, stream: Stream) -> float:
        """Put the copy in, the network and the copy out on the stream; the seconds that the network's call took."""
        stream.record(self._began)
        self._device.upload(prepared, self._buffers[self._card.input.name], stream)
        stream.record(self._uploaded)
        began = time.perf_counter()
        self._session.enqueue(self._buffers, stream)
        seconds = time.perf_counter() - began
        stream.record(self._computed)
        self._device.download(self._buffers[self._card.output.name], self.output, stream)
        stream.record(self.ended)
        return seconds

    def tell(self, runs: Runs) -> None:
        """Append the times between the events, which have been reached."""
        runs.h2d.append(self._uploaded.elapsed_seconds(self._began))
        runs.compute.append(self._computed.elapsed_seconds(self._uploaded))
        runs.d2h.append(self.ended.elapsed_seconds(self._computed))


def golden_input(engine: VerifiedEngine) -> Array:
    """The prepared golden input of an engine, of the card's input shape and element type."""
    return next(iter(compile_recipe(engine.card)(golden_image(engine.golden.seed), None, 0.0))).inputs[0].array
