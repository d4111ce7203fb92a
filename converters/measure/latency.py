"""How long a network takes on this machine's processor, by the daemon's own runner."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from edge_runtime.backends.registry import open_on_cpu
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.golden import golden_image, make_seed
from edge_runtime.engines.runner import EngineRunner
from edge_runtime.preprocess import compile_recipe

RUNS = 200
SECONDS = 5.0
_WARM_UP_RUNS = 3
_LEAST_RUNS = 5
_BLOCK = 5
"""Runs of one network before the next has its turn."""
_LEAST_TO_TELL = {"90": 10, "99": 100, "99.9": 10_000}
"""Runs below which a percentile says nothing."""


@dataclass(frozen=True)
class Latency:
    """Time of single runs, one after the other, on the host: compute alone, nothing is copied to a device.

    A percentile is None where there were too few runs to tell it.
    """

    processor: str
    threads: int
    runs: int
    shortest_seconds: float
    p50_seconds: float
    p90_seconds: float | None
    p99_seconds: float | None
    p999_seconds: float | None
    longest_seconds: float


def measure(card: Card, network: bytes, runs: int = RUNS, seconds: float = SECONDS) -> Latency:
    """Run an ONNX network on the golden input, at most `runs` times and for about `seconds`, after a warm-up.

    Raises:
        EngineRejected: ONNX Runtime does not take the network.
    """
    return measure_in_turn(card, {"": network}, runs, seconds)[""]


def measure_in_turn(
    card: Card, networks: Mapping[str, bytes], runs: int = RUNS, seconds: float = SECONDS
) -> dict[str, Latency]:
    """`measure` for several networks of one card, in turn (A B A B ...), so that what slows the machine slows all.

    `runs` and `seconds` are of each. Raises as `measure`.
    """
    threads = len(os.sched_getaffinity(0))
    backend, device = open_on_cpu(threads)
    with ExitStack() as stack:
        stack.callback(device.close)
        prepared = _golden_input(card)
        runners = {}
        for name, network in networks.items():
            runners[name] = EngineRunner(card, backend.load(network, device), device)
            stack.callback(runners[name].close)
            _run(runners[name], prepared, _WARM_UP_RUNS)
        samples: dict[str, list[float]] = {name: [] for name in networks}
        until = time.monotonic() + seconds * len(networks)
        while _goes_on(samples, runs, until):
            for name, runner in runners.items():
                samples[name] += _run(runner, prepared, min(_BLOCK, runs - len(samples[name])))
    return {name: summary(found, processor_name(), threads) for name, found in samples.items()}


def summary(samples: Sequence[float], processor: str, threads: int) -> Latency:
    """What samples, in seconds, say.

    Raises:
        ValueError: there is no sample.
    """
    if not samples:
        raise ValueError("a latency is of at least one run")
    ordered = sorted(samples)
    told = {p: percentile(ordered, p) if len(ordered) >= least else None for p, least in _LEAST_TO_TELL.items()}
    return Latency(
        processor=processor, threads=threads, runs=len(ordered), shortest_seconds=ordered[0],
        p50_seconds=percentile(ordered, "50"), p90_seconds=told["90"], p99_seconds=told["99"],
        p999_seconds=told["99.9"], longest_seconds=ordered[-1],
    )  # fmt: skip


def percentile(ordered: Sequence[float], percent: str) -> float:
    """The sample at trtexec's index, n - 1 - floor((100 - percent) / 100 * n), of samples in ascending order."""
    above = math.floor((100 - Fraction(percent)) * len(ordered) / 100)
    return ordered[max(len(ordered) - 1 - above, 0)]


def processor_name() -> str:
    """What the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _golden_input(card: Card) -> Array:
    return next(iter(compile_recipe(card)(golden_image(make_seed(card)), None, 0.0))).inputs[0].array


def _run(runner: EngineRunner, prepared: Array, times: int) -> list[float]:
    found = []
    for _ in range(times):
        runner.run(prepared)
        found.append(runner.engine_seconds)
    return found


def _goes_on(samples: Mapping[str, Sequence[float]], runs: int, until: float) -> bool:
    fewest = min(map(len, samples.values()))
    return fewest < runs and (fewest < min(_LEAST_RUNS, runs) or time.monotonic() < until)
