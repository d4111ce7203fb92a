"""The bare peer of live video: recipes, engines and decoding of a pipeline one after the other, in one process.

python -m benchmarks.live.bare CONFIG FRAMES      FRAMES: .npy; reads a request a line, answers each with one line
"""

from __future__ import annotations

import dataclasses
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lines import LineProcess, answer_lines
from benchmarks.live.answer import Answers, answers_of
from benchmarks.load.arrivals import fixed_rate
from edge_runtime.backends.registry import CUDA, choose
from edge_runtime.compose import compose_pipeline
from edge_runtime.config import Config
from edge_runtime.domain import Array, Frames, SourceImage
from edge_runtime.engines.required import verify_engines
from edge_runtime.errors import InferenceFailed
from edge_runtime.stages.pipeline import Pipeline
from edge_runtime.stages.stage import OneByOne
from edge_runtime.telemetry.metrics import NullMetrics
from edge_runtime.yaml_schema import read_schema

FASTEST, NEWEST, FIFO = "fastest", "newest", "fifo"


@dataclasses.dataclass(frozen=True)
class Request:
    """Frames to analyse, a number a second for some seconds; of `fastest`, one after the other without waiting.

    newest: whenever it is free, the newest that has arrived; fifo: all, in the order of their arrival.
    """

    mode: str
    rate: float
    seconds: float
    first: int = 0  # of the prepared frames

    @property
    def count(self) -> int:
        """How many frames arrive."""
        return max(1, round(self.rate * self.seconds))


@dataclasses.dataclass(frozen=True)
class Done:
    """Of each frame that was analysed: its number in the order of arrival, and the seconds from its arrival on.

    Of `fastest`, from the end of the one before. `seconds`: of all of them.
    """

    numbers: tuple[int, ...]
    latencies: tuple[float, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Frames a second."""
        return len(self.numbers) / self.seconds


class Bare(LineProcess):
    """The process, its engines loaded; a context manager."""

    def __init__(self, config: Path, frames: Path, log: Path) -> None:
        super().__init__("bare", "benchmarks.live.bare", [str(config), str(frames)], log)

    def __enter__(self) -> Bare:
        return self

    def play(self, request: Request) -> Done:
        """Analyse the frames of a request. Raises BenchFailed where the process has ended."""
        return Done(**self.ask(dataclasses.asdict(request)))

    def answers(self) -> list[Answers]:
        """What is said of each prepared frame. Raises BenchFailed where the process has ended."""
        found: list[Answers] = self.ask({"mode": "answers"})["answers"]
        return found


class BareRunner(OneByOne):
    """`InferenceSession.run` with the daemon's options, and nothing around it."""

    engine_seconds = waited_seconds = 0.0

    def __init__(self, engine: bytes, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def run(self, prepared: Array) -> Array:
        """See `stages.stage.Runner`."""
        try:
            output: Array = self._session.run(None, {self._input: prepared})[0]
        except Exception as error:
            raise InferenceFailed(f"ONNX Runtime failed in a run: {error}") from error
        return output

    def close(self) -> None:
        """See `stages.stage.Runner`."""


def bare_pipeline(config: Config) -> Pipeline:
    """The first pipeline of a configuration with bare runners; on a GPU the pipeline itself, with nothing around it."""
    chosen = config.pipelines[0]
    composed = compose_pipeline(chosen, config.engines, NullMetrics())
    if choose(config.engines).device == CUDA:
        return composed
    composed.close()
    engines = verify_engines(chosen, config.engines)
    stages = [
        dataclasses.replace(s, runner=BareRunner(engines[s.name].data, config.engines.threads), cheaper=())
        for s in composed.stages
    ]
    return Pipeline(composed.name, stages, composed.stages_json, NullMetrics(), lambda: None)


class Player:
    """Analyses prepared frames as a request wants it."""

    def __init__(self, run: Callable[[Frames], Any], frames: Array) -> None:
        self._run = run
        self._images = [Frames(pixels[None], "ES", (SourceImage("live", "live"),)) for pixels in frames]

    def play(self, request: Request) -> Done:
        """Analyse the frames of a request."""
        modes = {FASTEST: self._fastest, NEWEST: self._newest, FIFO: self._fifo}
        began = time.monotonic()
        done = list(modes[request.mode](request, began))
        seconds = time.monotonic() - began
        return Done(tuple(number for number, _ in done), tuple(latency for _, latency in done), seconds)

    def answers(self) -> list[Answers]:
        """What is said of each frame."""
        return [answers_of(self._run(image)) for image in self._images]

    def _analyse(self, request: Request, number: int) -> None:
        self._run(self._images[(request.first + number) % len(self._images)])

    def _fastest(self, request: Request, began: float) -> Iterator[tuple[int, float]]:
        number, before = 0, began
        while before - began < request.seconds:
            self._analyse(request, number)
            now = time.monotonic()
            yield number, now - before
            number, before = number + 1, now

    def _newest(self, request: Request, began: float) -> Iterator[tuple[int, float]]:
        next_one = 0
        while next_one < request.count:
            time.sleep(max(0.0, began + next_one / request.rate - time.monotonic()))
            arrived = int((time.monotonic() - began) * request.rate)
            number = min(max(next_one, arrived), request.count - 1)
            self._analyse(request, number)
            yield number, time.monotonic() - (began + number / request.rate)
            next_one = number + 1

    def _fifo(self, request: Request, began: float) -> Iterator[tuple[int, float]]:
        arrived: queue.Queue[int | None] = queue.Queue()

        def read() -> None:
            for number, moment in enumerate(islice(fixed_rate(request.rate), request.count)):
                time.sleep(max(0.0, began + moment - time.monotonic()))
                arrived.put(number)
            arrived.put(None)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        while (number := arrived.get()) is not None:
            self._analyse(request, number)
            yield number, time.monotonic() - (began + number / request.rate)
        reader.join()


def main() -> None:
    """Answer each line until the input ends."""
    config, frames = read_schema(Config, Path(sys.argv[1])), np.load(sys.argv[2], mmap_mode="r")
    pipeline = bare_pipeline(config)
    player = Player(pipeline.run, np.ascontiguousarray(frames))
    player.answers()

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["mode"] == "answers":
            return {"answers": player.answers()}
        return dataclasses.asdict(player.play(Request(**asked)))

    answer_lines(answer)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
