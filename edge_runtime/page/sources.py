"""What the metrics say of the sources of live frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from edge_runtime.page.status import VideoFacts
from edge_runtime.telemetry.exposition import Exposition

DOWN = "down"
"""The state of a source whose process says nothing: it is not there."""

_GOOD = "in_time"


def source_states(exposition: Exposition) -> dict[str, str]:
    """The state of each source that says one."""
    return {source: state for (source, state), value in exposition.values("edge_video_state").items() if value > 0}


class FrameRates:
    """How many frames of a source were analysed in time, a second, over the last readings of their counter."""

    def __init__(self, window_seconds: float = 10.0, silent_seconds: float = 3.0) -> None:
        self._window = window_seconds
        self._silent = silent_seconds
        self._readings: dict[str, deque[tuple[float, float]]] = {}

    def read(self, source: str, total: float, raised_at: float | None, now: float) -> float | None:
        """`total` was reached at `raised_at` (None: nothing was counted yet); all times are of one clock."""
        readings = self._readings.setdefault(source, deque())
        if raised_at is None or now - raised_at > self._silent:
            readings.clear()
            return 0.0
        if readings and raised_at < readings[-1][0]:
            readings.clear()  # the clock was set back
        if not readings or raised_at > readings[-1][0]:
            readings.append((raised_at, total))
        while readings[0][0] < raised_at - self._window and len(readings) > 2:
            readings.popleft()
        (first_at, first), (last_at, last) = readings[0], readings[-1]
        return round((last - first) / (last_at - first_at), 1) if last_at > first_at else None


def video_facts(exposition: Exposition, names: Sequence[str], rates: FrameRates, now: float) -> dict[str, VideoFacts]:
    """What the metrics say of each source, by name. `now` is Unix seconds."""
    states, frames = source_states(exposition), exposition.values("edge_video_frames_total")
    raised = exposition.raised_at("edge_video_frames_total")
    last = exposition.values("edge_video_last_frame_timestamp_seconds")
    opened = exposition.values("edge_examination_open")
    return {
        name: VideoFacts(
            state=states.get(name, DOWN),
            frames={outcome: int(count) for (source, outcome), count in frames.items() if source == name},
            in_time_per_second=rates.read(name, frames.get((name, _GOOD), 0.0), raised.get((name, _GOOD)), now),
            last_frame_at=last.get((name,)),
            examination_open=None if (name,) not in opened else opened[name,] > 0,
        )
        for name in names
    }
