"""A loaded engine, and runners of it with streams, an execution context and buffers of their own, allocated once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np

from edge_runtime.backends.base import Backend, Session
from edge_runtime.device.base import Buffer, Device, Priority, Stream
from edge_runtime.device.mirror import Mirror
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.target import check_target
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.engines.views import Fill
from edge_runtime.errors import EngineError, EngineRejected, InferenceFailed

Turn = Callable[[], AbstractContextManager[float]]
"""Waits until the engine may run, and says how many seconds that took. Nobody else runs the engine meanwhile."""


@dataclass(frozen=True, eq=False)
class Streams:
    """The way in, the networks, the way out, of one image at a time.

    Where host and device share memory nothing is copied: there is one.
    """

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


def open_streams(device: Device, priority: Priority = Priority.NORMAL) -> Streams:
    """Streams for the runs of one image after the other."""
    shared = device.abilities.shared_memory
    run = device.stream(priority, immediate=shared)
    if shared:
        return Streams(run, run, run)
    return Streams(device.stream(priority), run, device.stream(priority))


class _Slot:
    """The memory of one run, and the moments of its way."""

    def __init__(self, card: Card, session: Session, device: Device) -> None:
        self.input = Mirror(device, card.input.shape, card.input.dtype)
        self.output = Mirror(device, card.output.shape, card.output.dtype)
        known = {card.input.name: self.input.buffer, card.output.name: self.output.buffer}
        tensors = session.inputs + session.outputs
        self.buffers: dict[str, Buffer] = {t.name: known.get(t.name) or device.empty(t.shape, t.dtype) for t in tensors}
        self.uploaded, self.began, self.ended, self.downloaded = (device.event() for _ in range(4))
        self.given = False  # an input is on its way, or there, that no run has used

    @property
    def shared(self) -> bool:
        """Whether host and device share it: nothing is copied."""
        return self.input.shared


class EngineRunner:
    """Runs one engine. The output's memory is used again by the runner's next run but one.

    Runners of one engine (`another`) share its weights, and have all else of their own.
    """

    def __init__(
        self, card: Card, session: Session, device: Device, turn: Turn | None = None, streams: Streams | None = None
    ) -> None:
        """`streams` belong to the caller; without them the runner opens its own."""
        self.card = card
        self.session = session
        self._device = device
        self._own = None if streams is not None else open_streams(device)
        self.streams: Streams = streams or self._own or open_streams(device)
        self._slots = [_Slot(card, session, device)]
        if not self._slots[0].shared:
            self._slots.append(_Slot(card, session, device))
        self._turn: Turn = turn or one_at_a_time()
        self._others: list[EngineRunner] = []
        self.engine_seconds = 0.0  # of the last run: the network alone
        self.waited_seconds = 0.0  # of the last run: for its turn

    @property
    def device(self) -> Device:
        """What it runs on."""
        return self._device

    @property
    def buffers(self) -> dict[str, Buffer]:
        """Of every input and output, for work that goes its whole way on the device."""
        return self._slots[0].buffers

    def last_input(self) -> Array:
        """The input of the last `run`, a copy from the device."""
        slot, given = self._slots[0], np.zeros(self.card.input.shape, self.card.input.dtype)
        self._device.download(slot.input.buffer, given, self.streams.run)
        self.streams.run.synchronize()
        return given

    def blank(self) -> None:
        """Fill input and output of the next `run` with NaN (all bits set): what is not written then is seen."""
        for mirror in (self._slots[0].input, self._slots[0].output):
            mirror.host.view(np.uint8)[...] = 0xFF
            mirror.upload(self.streams.run)
        self.streams.run.synchronize()

    def another(self, turn: Turn, streams: Streams) -> EngineRunner:
        """One more runner of this engine. It ends with this one."""
        runner = EngineRunner(self.card, self.session.another(), self._device, turn, streams)
        self._others.append(runner)
        return runner

    def run(self, prepared: Array | Fill) -> Array:
        """One run; returns the card's output. `prepared` has the card's input shape and element type, or fills it.

        Raises:
            InferenceFailed: the library failed on this input; the next run starts anew.
            EngineError: the input does not fit, or the runner is closed.
        """
        return next(iter(self.run_each((prepared,))))

    def run_each(self, inputs: Iterable[Array | Fill]) -> Iterator[Array]:
        """One run after the other; each output stays until the next is asked for.

        While a network runs, the next input is prepared and copied in, and the output before is copied out.
        Raises as `run`.
        """
        if not self._slots:
            raise EngineError(f"the runner of engine {self.card.name} is closed")
        ahead = not self._slots[0].shared
        slots, source = itertools.cycle(self._slots), iter(inputs)
        done: tuple[_Slot, float] | None = None
        slot = self._given(next(slots), source)
        while slot is not None:
            following: _Slot | None = None
            with self._turn() as waited_seconds:
                self._enqueue(slot)
                try:
                    if ahead:
                        following = self._given(next(slots), source)
                        if done is not None:
                            yield self._taken(*done)
                finally:
                    self._wait(slot)
            done = (slot, waited_seconds)
            if not ahead:
                yield self._taken(*done)
                following = self._given(slot, source)
            slot = following
        if ahead and done is not None:
            yield self._taken(*done)

    def _given(self, slot: _Slot, source: Iterator[Array | Fill]) -> _Slot | None:
        """The slot with the next input on its way to the device; None where there is none."""
        given = next(source, None)
        if given is None:
            return None
        streams = self.streams
        if slot.given:  # of a caller that asked for no more
            streams.upload.synchronize()
        slot.given = True
        if callable(given):
            given(slot.input.buffer, streams.upload)
        else:
            memory = slot.input.host
            if given.shape != memory.shape or given.dtype != memory.dtype:
                raise EngineError(f"cannot copy {given.dtype} {given.shape} into the input of engine "
                                  f"{self.card.name}, {memory.dtype} {memory.shape}")  # fmt: skip
            np.copyto(memory, given)
            slot.input.upload(streams.upload)
        if streams.upload is not streams.run:
            streams.upload.record(slot.uploaded)
        return slot

    def _enqueue(self, slot: _Slot) -> None:
        streams = self.streams
        if streams.upload is not streams.run:
            streams.run.wait(slot.uploaded)
        streams.run.record(slot.began)
        self.session.enqueue(slot.buffers, streams.run)
        streams.run.record(slot.ended)
        slot.given = False
        if slot.shared:
            return
        if streams.download is not streams.run:
            streams.download.wait(slot.ended)
        slot.output.download(streams.download)
        streams.download.record(slot.downloaded)

    def _wait(self, slot: _Slot) -> None:
        try:
            slot.ended.synchronize()
        except InferenceFailed:
            self.streams.reset()
            raise

    def _taken(self, slot: _Slot, waited_seconds: float) -> Array:
        """The output of a run that has ended, on the host."""
        if not slot.shared:
            slot.downloaded.synchronize()
        self.engine_seconds = slot.ended.elapsed_seconds(slot.began)
        self.waited_seconds = waited_seconds
        return slot.output.host

    def close(self) -> None:
        """Free this runner's network, and those of the others made of it; a second call does nothing."""
        for runner in self._others:
            runner.close()
        self._slots.clear()
        if self._own is not None:
            self._own.close()
        self.session.close()


def load_runner(
    engine: VerifiedEngine,
    backend: Backend,
    device: Device,
    turn: Turn | None = None,
    streams: Streams | None = None,
) -> EngineRunner:
    """Give verified bytes to their library and check that the network has the card's input and output.

    Raises:
        EngineRejected: it was built for another device or library, the library does not take it, or its tensors are
            not those of the card.
    """
    card = engine.card
    check_target(engine, backend.name, backend.version, device.facts)
    try:
        session = backend.load(engine.data, device, {card.input.name: card.input.shape})
    except EngineRejected as error:
        raise EngineRejected(f"engine {card.name}: {error}") from error
    inputs = {t.name: (t.shape, t.dtype) for t in session.inputs}
    outputs = {t.name: (t.shape, t.dtype) for t in session.outputs}
    if inputs != {card.input.name: (card.input.shape, card.input.dtype)}:
        raise EngineRejected(f"engine {card.name}: its inputs are {inputs}, the card says {card.input}")
    if outputs.get(card.output.name) != (card.output.shape, card.output.dtype):
        raise EngineRejected(f"engine {card.name}: its outputs are {outputs}, the card says {card.output}")
    return EngineRunner(card, session, device, turn, streams)


def one_at_a_time() -> Turn:
    """The turn of an engine that nothing else shares the device with."""
    lock = threading.Lock()

    @contextmanager
    def turn() -> Iterator[float]:
        with lock:
            yield 0.0

    return turn
