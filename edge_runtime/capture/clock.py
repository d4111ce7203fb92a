"""When a frame was acquired: a stream's own time stamps on the computer's monotonic clock. Pure."""

from __future__ import annotations

DRIFT = 0.0005
"""Seconds a second by which a source's clock may go slower than ours. A delay that grows faster than that is lag."""

YOUNG_SECONDS = 5.0
YOUNG_DRIFT = 0.2
"""The same in a connection's first seconds: the stamps of many servers and programs have to settle. A pause counts
little: after one the frames are old."""
_STEP_SECONDS = 0.1

JUMP_SECONDS = 0.5
"""Stamps that advance by so much more than time has passed have been set anew; while frames are late, so have those
that advance by so much at all."""
LATE_SECONDS = 0.2
_USUAL_INTERVALS = 4
_FRAME_SECONDS = 0.04


class StreamClock:
    """The frame that came with the least delay is taken to have had none; the others are as late as they came after it.

    The offset between the clocks follows every earlier arrival at once and every later one by at most `DRIFT`. Where
    stamps are set anew, back or forth, the frame follows the one before it: what was late stays late. It never says a
    moment later than the arrival.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._stamp = 0.0
        self._arrived_at = 0.0
        self._captured_at = 0.0
        self._frame_seconds = _FRAME_SECONDS
        self._began_at = 0.0

    def captured_at(self, stamp: float | None, arrived_at: float) -> float:
        """The acquisition of a frame: its stamp (seconds of the stream) and its arrival (CLOCK_MONOTONIC seconds).

        A frame without a stamp was acquired when it arrived, but where others have one, with the one before it: a
        demuxer loses a stamp now and then, and that frame may be old.
        """
        if stamp is None:
            return arrived_at if self._offset is None else min(self._stamp + self._offset, arrived_at)
        if self._offset is None:
            offset, self._began_at = arrived_at - stamp, arrived_at
        elif self._set_anew(stamp, arrived_at):
            offset = min(arrived_at, self._captured_at + self._frame_seconds) - stamp
            self._began_at = arrived_at
        else:
            passed = max(0.0, arrived_at - self._arrived_at)
            young = arrived_at - self._began_at < YOUNG_SECONDS
            drift = YOUNG_DRIFT * min(passed, _STEP_SECONDS) if young else DRIFT * passed
            offset = min(arrived_at - stamp, self._offset + drift)
            self._frame_seconds = stamp - self._stamp or self._frame_seconds
        self._offset, self._stamp, self._arrived_at = offset, stamp, arrived_at
        self._captured_at = min(stamp + offset, arrived_at)
        return self._captured_at

    def _set_anew(self, stamp: float, arrived_at: float) -> bool:
        advance, passed = stamp - self._stamp, max(0.0, arrived_at - self._arrived_at)
        late = self._arrived_at - self._captured_at
        if advance < 0 or advance > passed + late + JUMP_SECONDS:
            return True
        return late > LATE_SECONDS and advance > max(JUMP_SECONDS, _USUAL_INTERVALS * self._frame_seconds)


class Pace:
    """The clock of a file that is replayed at its own rate: when each frame is due. Stamps that go back begin anew."""

    def __init__(self, frame_seconds: float) -> None:
        self._frame_seconds = frame_seconds
        self._start: float | None = None
        self._stamp = 0.0

    def due_at(self, stamp: float | None, now: float) -> float:
        """CLOCK_MONOTONIC seconds. A frame without a stamp is due one frame's time after the one before."""
        if stamp is None:
            stamp = self._stamp + self._frame_seconds
        if self._start is None or stamp < self._stamp:
            self._start = now - stamp
        self._stamp = stamp
        return self._start + stamp

    def restart(self) -> None:
        """The next frame is due when it comes: what the replay is behind is given up."""
        self._start = None
