"""The two sides of a scenario of live video, on the same frames: `infer` in its process, the bare peer in another."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live.answer import all_ran
from benchmarks.live.bare import FASTEST, Bare, Done, Request
from benchmarks.live.infer import LiveInfer, Played
from benchmarks.live.site import prepare_site
from benchmarks.record import BenchFailed, Record
from benchmarks.sampler import cpu_seconds

WARM_SECONDS = 1.0
ROLE_MODULE = "edge_runtime.roles.main"

LIVE_NOTES = [
    "edge: the role infer in its own process, started as the supervisor starts it. The program that measures publishes "
    "the frames into its slot (uint8 RGB, 640 x 360) and receives its results, on the same cores: there is no camera, "
    "no decoding of video and no page.",
    "bare: one process that runs the same recipes, InferenceSession.run with the same options, and the same decoding, "
    "one after the other; the frames lie in its memory.",
    "Open loop: a latency counts from the moment at which its frame was to arrive, until its result was received "
    "(edge), or was there (bare).",
]


class LiveBench:
    """Engines, frames on which all stages run, and the bare process; `infer` starts the other side."""

    def __init__(
        self, pipeline: str, frames: int, threads: int, work: Path, record: Record, stack: ExitStack,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self._work, self._record, self._stack, self._threads = work, record, stack, threads
        self.site = prepare_site(pipeline, work, record, frames, device)
        config = self.site.config(work / "bare.yaml", 1.0, threads)
        with Bare(config, self.site.frames, work / "bare.log") as chooser:
            answers = chooser.answers()
        wanted = [all_ran(one) for one in answers]
        if not any(wanted):
            raise BenchFailed(
                f"all stages run on none of {frames} frames, so there is nothing to measure: {answers[0]}"
            )
        self.frames = np.ascontiguousarray(np.load(self.site.frames)[np.array(wanted)])
        np.save(self.site.frames, self.frames)
        self.answers = [one for one, kept in zip(answers, wanted, strict=True) if kept]
        self.bare = stack.enter_context(Bare(config, self.site.frames, work / "bare.log"))
        record.inputs["threads"] = threads
        record.checks["frames on which every stage runs"] = len(self.frames)

    def infer(self, name: str, deadline_seconds: float, module: str = ROLE_MODULE) -> LiveInfer:
        """Start an `infer` whose frames have this deadline, and let it see a few frames."""
        config = self.site.config(self._work / f"{name}.yaml", deadline_seconds, self._threads)
        infer = self._stack.enter_context(LiveInfer(config, self._work / f"{name}.log", module))
        self.same_answers(infer.play(self.frames, 10.0, 10))
        return infer

    def fastest(self, seconds: float) -> Done:
        """The bare peer, one frame after the other."""
        return self.bare.play(Request(FASTEST, 0.0, seconds))

    def same_answers(self, played: Played) -> None:
        """Check that results in which no stage was left out say what the bare peer says of the same frames.

        Raises:
            BenchFailed: one does not.
        """
        for one in played.results:
            expected = self.answers[one.number % len(self.answers)]
            if one.answers != expected:
                raise BenchFailed(f"frame {one.number}: edge says {one.answers}, the bare peer {expected}")
        checks, name = self._record.checks, "results with the bare peer's answers"
        checks[name] = checks.get(name, 0) + len(played.results)

    def detail(self, name: str, value: Any) -> None:
        """Add what a round has to say beside its figures."""
        self._record.details.setdefault(name, []).append(value)


class CpuTime:
    """Processor time that a process takes from here on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = cpu_seconds(pid)

    def milliseconds(self, frames: int) -> float:
        """For each of so many frames."""
        return 1000 * (cpu_seconds(self._pid) - self._before) / max(1, frames)
