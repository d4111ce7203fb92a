"""What a source is doing, judged from what came of it. Pure: times come in as arguments, CLOCK_MONOTONIC seconds."""

from __future__ import annotations

from dataclasses import dataclass

CATCH_UP_SECONDS = 5.0
"""A source that is behind its own clock for this long is connected anew."""

NO_PICTURE_SECONDS = 6.0
"""So is one that sends, but nothing that can be decoded, for this long: its codec may have changed."""

_REPEATS = 2
_MEMORY = 2.0
"""Times frozen_after_seconds: a picture seen within it is no new one. An encoder that gets the same picture again and
again makes it a little better with each frame, and begins anew with each key frame: its pictures go in a circle."""


@dataclass(frozen=True)
class Limits:
    """Of one source, in seconds; see `config.Video`."""

    silent_after_seconds: float
    frozen_after_seconds: float
    maximum_lag_seconds: float


class Watch:
    """Tells silent, frozen and lagging apart. What it knows of the picture outlives a connection."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._phase = "connecting"  # connecting | open | ended
        self._opened_at = 0.0
        self._seen_at: float | None = None  # the last frame of this connection that could be decoded
        self._verdict = "captured"
        self._images: dict[int, float] = {}  # when each was seen last, the newest at the end
        self._new_at = 0.0
        self._repeats = 0
        self._stamp: float | None = None
        self._stamp_at = 0.0
        self._behind_since: float | None = None

    def connecting(self) -> None:
        """There is no connection."""
        self._phase, self._behind_since = "connecting", None

    def opened(self, now: float) -> None:
        """A connection is open; no frame came yet."""
        self._phase, self._opened_at, self._seen_at = "open", now, None

    def ended(self) -> None:
        """The file is at its end."""
        self._phase = "ended"

    def forget_pictures(self) -> None:
        """What was seen may come again: a file begins anew."""
        self._images.clear()

    def frame(self, now: float, image: int | None, stamp: float | None, lag_seconds: float) -> str:
        """A whole frame came: "captured" if it may be shown, else "frozen" or "lagging".

        `image` stands for its pixels, None where nobody looked at them.
        """
        if image is not None:
            self._look(now, image)
        if stamp is None or stamp != self._stamp or self._seen_at is None:
            self._stamp, self._stamp_at = stamp, now
        self._seen_at = now
        frozen_after = self._limits.frozen_after_seconds
        same = self._repeats >= _REPEATS and now - self._new_at > frozen_after
        stands = now - self._stamp_at > frozen_after
        if lag_seconds <= self._limits.maximum_lag_seconds:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = now
        behind = self._behind_since is not None
        self._verdict = "frozen" if same or stands else "lagging" if behind else "captured"
        return self._verdict

    def _look(self, now: float, image: int) -> None:
        known = self._images.pop(image, None) is not None
        self._images[image] = now
        memory_seconds = _MEMORY * self._limits.frozen_after_seconds
        while now - (oldest := next(iter(self._images.items())))[1] > memory_seconds:
            del self._images[oldest[0]]
        self._repeats = self._repeats + 1 if known else 0
        if not known:
            self._new_at = now

    def hopeless(self, now: float) -> str | None:
        """Why the source is to be connected anew, or None."""
        if self._phase != "open":
            return None
        if self._verdict == "lagging" and self._behind_since is not None:
            behind = now - self._behind_since > CATCH_UP_SECONDS
            return "it does not catch up with its own clock" if behind else None
        since = self._opened_at if self._seen_at is None else self._seen_at
        return "nothing that it sends can be decoded" if now - since > NO_PICTURE_SECONDS else None

    def state(self, now: float) -> str:
        """One of metrics.SOURCE_STATES."""
        if self._phase != "open":
            return self._phase
        since = self._opened_at if self._seen_at is None else self._seen_at
        if now - since > self._limits.silent_after_seconds:
            return "silent"
        if self._seen_at is None:
            return "connecting"
        return "live" if self._verdict == "captured" else self._verdict
