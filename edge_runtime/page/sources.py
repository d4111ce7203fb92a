"""What the metrics say of the sources of live frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from edge_runtime.page.status import VideoFacts
from edge_runtime.telemetry.exposition import Exposition

DOWN = "down"
"""The state of a source whose process says nothing: it is not there."""

_GOOD = "in_time"
_ANSWERED = (_GOOD, "late", "dropped", "failed", "overtaken")

CONNECTING = "connecting"
REASONS = {
    "opened": "it was opened, but has given no picture yet, or broke off",
    "refused": "nothing listens there, it is in use or cannot be reached, or user or password are wrong",
    "timeout": "it does not answer: look at address, cable and power",
    "not_found": "there is no such device, file, stream or program",
    "no_video": "it has no video stream that can be decoded",
    "broken": "what it sends cannot be read as video",
    "ended": "it ended before any picture",
}
"""Why a source is connecting, by the outcome of its last attempt (metrics.CONNECT_OUTCOMES)."""

_FIRST = "the first attempt is under way"


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


class InTimeShares:
    """The share of a source's frames that had a result in time, of all that came to an end since an earlier reading.

    That is the last one before `window_seconds`: a share of a few frames would jump.
    """

    def __init__(self, window_seconds: float = 4.0, remembered_seconds: float = 60.0) -> None:
        self._window = window_seconds
        self._remembered = remembered_seconds
        self._readings: dict[str, deque[tuple[float, float, float]]] = {}

    def read(self, source: str, in_time: float, ended: float, now: float) -> float | None:
        """`in_time` of `ended` frames until now; None where no frame came to an end, or there is nothing to compare."""
        readings = self._readings.setdefault(source, deque())
        if readings and now < readings[-1][0]:
            readings.clear()  # the clock was set back
        while len(readings) > 1 and readings[1][0] <= now - self._window:
            readings.popleft()
        while readings and readings[0][0] < now - self._remembered:
            readings.popleft()
        readings.append((now, in_time, ended))
        _, in_time_before, ended_before = readings[0]
        if ended <= ended_before:
            return None
        return round(min(1.0, (in_time - in_time_before) / (ended - ended_before)), 4)


def why_connecting(connects: Mapping[str, float]) -> str:
    """The sentence for the newest attempt; `connects` says when each outcome was last counted."""
    return REASONS.get(max(connects, key=lambda outcome: connects[outcome]), "") if connects else _FIRST


def video_facts(
    exposition: Exposition, names: Sequence[str], rates: FrameRates, shares: InTimeShares, now: float
) -> dict[str, VideoFacts]:
    """What the metrics say of each source, by name. `now` is Unix seconds."""
    states, frames = source_states(exposition), exposition.values("edge_video_frames_total")
    raised = exposition.raised_at("edge_video_frames_total")
    last = exposition.values("edge_video_last_frame_timestamp_seconds")
    opened = exposition.values("edge_examination_open")
    connects: dict[str, dict[str, float]] = {}
    for (source, outcome), at in exposition.raised_at("edge_video_connects_total").items():
        connects.setdefault(source, {})[outcome] = at
    answered = {name: sum(frames.get((name, outcome), 0.0) for outcome in _ANSWERED) for name in names}
    return {
        name: VideoFacts(
            state=states.get(name, DOWN),
            frames={outcome: int(count) for (source, outcome), count in frames.items() if source == name},
            in_time_per_second=rates.read(name, frames.get((name, _GOOD), 0.0), raised.get((name, _GOOD)), now),
            last_frame_at=last.get((name,)),
            examination_open=None if (name,) not in opened else opened[name,] > 0,
            in_time_share=shares.read(name, frames.get((name, _GOOD), 0.0), answered[name], now),
            reason=why_connecting(connects.get(name, {})) if states.get(name) == CONNECTING else "",
        )
        for name in names
    }
