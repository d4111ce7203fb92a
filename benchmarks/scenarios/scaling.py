"""What a unit of work costs by how much there is at once: streams, slices, associations, engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.scaling_associations import AssociationsPart
from benchmarks.scenarios.scaling_curves import visited
from benchmarks.scenarios.scaling_engines import EnginesPart
from benchmarks.scenarios.scaling_schema import ASSOCIATIONS, ENGINES, SLICES, STREAMS, Scaling
from benchmarks.scenarios.scaling_slices import SlicesPart
from benchmarks.scenarios.scaling_streams import StreamsPart
from benchmarks.site import work_folder

NOTES = [
    "A curve is the cost of one unit of work by size: flat where the whole grows as its size, falling where a fixed "
    "cost is shared by more, rising (superlinear) where the whole grows faster than its size.",
    "streams: frames of 320 x 180 at one rate in all, dealt to the streams in turn, into the real infer with one small "
    "network; its processor time for a frame that had a result, and the median latency from the frame's moment on.",
    "slices: receive is the time of storescu from start to end; result is from the last slice's C-STORE response to "
    "the last result file (SR, SEG of every slice, overlay, JSON), less the quiet time. Both divided by the slices.",
    "associations: the same instances of 525 KB, each durable before its response, in the time of all senders from "
    "start to end, their start included; processor: of all roles of the daemon, until infer has indexed them. "
    "storescp --fork writes without fsync.",
    "engines: each of the same size, in a process that has loaded one small engine and runs as infer does; load is "
    "verifying, loading and the golden run; memory is VmRSS; run is a pipeline with a stage for each "
    "engine, whose weights together may no longer fit the processor's caches.",
    "Sizes are visited in another order each round.",
]


class Part(Protocol):
    """One thing that can be more or less."""

    def round(self, sizes: Sequence[int]) -> None:
        """Measure every size once, in this order."""


def run(scenario: Scaling, record: Record) -> None:
    """Prepare the parts, then the rounds; the parts take turns within a round."""
    record.notes.extend(NOTES)
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        parts = _prepare(scenario, record, work, stack)
        for number in range(scenario.rounds):
            for name in list(parts)[:: -1 if number % 2 else 1]:
                parts[name].round(visited(getattr(scenario, name), number))
            print(f"round {number + 1} of {scenario.rounds} done", flush=True)


def _prepare(scenario: Scaling, record: Record, work: Path, stack: ExitStack) -> dict[str, Part]:
    """The parts that can be measured here; those that cannot are problems of the result."""
    makers: dict[str, Callable[[Path], Part]] = {
        STREAMS: lambda folder: StreamsPart(scenario, record, folder),
        SLICES: lambda folder: SlicesPart(scenario, record, folder, stack),
        ASSOCIATIONS: lambda folder: AssociationsPart(scenario, record, folder),
        ENGINES: lambda folder: EnginesPart(scenario, record, folder),
    }
    parts: dict[str, Part] = {}
    for name in scenario.parts:
        folder = work / name
        folder.mkdir()
        try:
            parts[name] = makers[name](folder)
        except BenchFailed as error:
            record.problem(f"{name} was not measured: {error}")
    if not parts:
        raise BenchFailed("no part of this scenario can be measured here")
    return parts
