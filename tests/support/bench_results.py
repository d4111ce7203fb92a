"""A result with everything a run can give, made by the real record from numbers that nobody measured."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.record import Accelerator, Budget, Mode, Record, Span
from benchmarks.statistics import Target

DEVICE = "CPU: Tested 9000, 2 cores; no accelerator was used"
PROVENANCE = {
    "date": "2026-01-01T00:00:00+00:00", "device": DEVICE, "cpu_model": "Tested 9000", "cores": 2, "memory_bytes": 8,
    "machine": "x86_64", "git_commit": "0123456789abcdef", "load_average_before": [0.1, 0.2, 0.3], "python": "3.11.7",
    "packages": {"numpy": "2.0", "torch": "absent"}, "seconds": 61.5,
}  # fmt: skip
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">&amp;]]>"
STAGES = {"decode": 0.004, "infer": 0.012, "answer": 0.001}
OF = "pipelines.endoscopy.deadline_seconds"


def latencies(count: int, median: float = 0.02, seed: int = 1) -> list[float]:
    """Seconds with a long tail."""
    generator = random.Random(seed)
    return [median * generator.lognormvariate(0.0, 0.35) for _ in range(count)]


def budget(verdict: str = "pass", name: str = "p99", **changed: Any) -> Budget:
    """A budget of 50 ms in the configuration."""
    found = {"pass": 41.0, "fail": 63.0}.get(verdict)
    bound = None if verdict == "no budget" else 50.0
    keys: dict[str, Any] = {
        "name": name, "of": f"video.tower-1.{name}", "bound": bound, "at_least": False, "unit": "ms", "found": found,
        "interval": None if found is None else (found - 1, found + 1), "samples": 1200, "verdict": verdict, "why": "",
    }  # fmt: skip
    return Budget(**{**keys, **changed})


def record(name: str = "synthetic", count: int = 1200, reduced: bool = False) -> Record:
    """Every kind of thing that a record takes, on both devices."""
    made = Record({"name": name, "kind": "video", "rounds": 3, "rate": 25.0}, reduced)
    for order in range(3):
        made.add("half load/edge", 20.0 + order, "ms", higher_is_better=False, target=Target(25.0, at_least=False))
        made.add("half load/bare", 19.0 + order, "ms", higher_is_better=False)
        made.add("half load/edge on the card", 3.0, "ms", higher_is_better=False, device=Accelerator.GPU)
        made.add_latencies(
            "half load/edge", Mode.FIXED_RATE, latencies(count, seed=order), warm_up=10, unanswered=order
        )
        made.add_latencies("half load/bare", Mode.FIXED_RATE, latencies(count, 0.018, seed=order + 10), warm_up=10)
        made.add_latencies("half load/serial", Mode.SINGLE_STREAM, latencies(40, 0.017, seed=order + 20))
        made.add_latencies("half load/card", Mode.SERVER, latencies(50, 0.002, order), device=Accelerator.GPU)
        made.add_stages("half load/edge", {n: [mean * (1 + k / 50) for k in range(60)] for n, mean in STAGES.items()})
        for size in (1, 2, 4, 8, 16):
            made.add_point("streams/edge", "streams", size, 1.0 + 0.001 * order, "ms a frame")
            made.add_point("streams/bare", "streams", size, 1.0 * size**0.5 + 0.001 * order, "ms a frame")
        made.add_deadline("half load/edge", 0.05, count, order, OF)
        made.add_deadline("half load/fifo", 0.05, count, count // 2, OF)
    made.add_ratio("edge : bare", ("half load/edge", "half load/bare"), higher_is_better=False)
    begin = 0.0
    spans = []
    for stage, seconds in STAGES.items():
        spans.append(Span("infer" if stage == "infer" else "host", stage, begin, begin + seconds))
        begin += seconds
    made.add_timeline("a frame of half load", spans)
    made.add_budget(budget(of=OF))
    made.problem("the machine was not quiet: load average 1.25 before the start")
    made.notes.append("edge: the daemon.")
    made.checks["frames with the same answer"] = 1200
    made.details["raw"] = list(range(500))
    made.inputs["configuration_sha256"] = "ab" * 32
    return made


def document(state: str = "complete", **keys: Any) -> dict[str, Any]:
    """The result of `record`."""
    return record(**keys).document(state, PROVENANCE)
