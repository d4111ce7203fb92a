"""Times of single runs of a network, as trtexec names them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from benchmarks.statistics import median, percentile

BY_EVENTS = ("h2d", "compute", "d2h", "latency", "enqueue")


@dataclass
class Runs:
    """Times of single runs, in seconds.

    h2d, compute, d2h: between events of the stream. enqueue: the host's time in the call that appends the network.
    wall: the host's time from the call of the first copy until the output lies in the host's memory.
    """

    h2d: list[float] = field(default_factory=list)
    compute: list[float] = field(default_factory=list)
    d2h: list[float] = field(default_factory=list)
    enqueue: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    @property
    def latency(self) -> list[float]:
        """H2D + compute + D2H of each run."""
        return [sum(parts) for parts in zip(self.h2d, self.compute, self.d2h, strict=True)]

    def add(self, other: Runs) -> None:
        """Append the runs of another."""
        for one in fields(self):
            getattr(self, one.name).extend(getattr(other, one.name))

    def summary(self) -> dict[str, dict[str, float]]:
        """What trtexec's performance summary says of each time that there is, in ms; percentiles by its formula."""
        times = {name: getattr(self, name) for name in (*BY_EVENTS, "wall")}
        return {name: _summary(samples) for name, samples in times.items() if samples}


def _summary(samples: list[float]) -> dict[str, float]:
    told = {
        "min": min(samples), "max": max(samples), "mean": sum(samples) / len(samples), "median": median(samples),
        **{f"p{percent}": percentile(samples, percent) for percent in (90, 95, 99)},
    }  # fmt: skip
    return {name: round(1000 * seconds, 4) for name, seconds in told.items()}
