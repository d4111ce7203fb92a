"""The case `camera` of the scenario `video`: the daemon and the peers at one camera, in turn."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.live.camera_case import EDGE, CameraBench, measured_systems, why_not
from benchmarks.live.camera_result import Turn, compare_answers, parts_of
from benchmarks.live.site import DEADLINE_KEY, LiveSite
from benchmarks.live.waterfall import add_parts
from benchmarks.load.arrivals import Mode
from benchmarks.record import Record
from benchmarks.scenarios.live_schema import Video
from benchmarks.statistics import median, percentile

CASE = "camera"
_ROOM = 2.0  # a deadline is measured where it is at least so many times what the bare peer needs for a frame
_PATIENCE_SECONDS = 0.5  # after the last frame's deadline; what comes later has no answer

NOTES = [
    "camera: an RTSP server (GStreamer, H.264, TCP, this computer) draws each frame's number into it. A latency counts "
    "from the moment at which a frame was handed to the encoder until the line of its result was seen in a file "
    "(inotify): encoding, sending, decoding, analysis and writing. A fourth, small network of both sides reads the "
    "number. The systems read it one after the other; each is started anew, and its first seconds do not count.",
    "camera/edge: the whole daemon, with all its roles; it also draws and compresses each picture for its page, which "
    "the peers do not. camera/opencv: a script of OpenCV (FFmpeg) and ONNX Runtime, a "
    "thread of which keeps the newest frame. camera/fifo: the same with a queue of all frames.",
    "camera, in time: the share of the camera's frames whose result was there at the deadline; a frame without a "
    "result was missed. edge alone knows the deadline, and counts it from its capture of the frame.",
]


class CameraCase:
    """The rounds at the camera."""

    def __init__(self, scenario: Video, record: Record, bench: CameraBench, systems: tuple[str, ...]) -> None:
        self._scenario, self._record, self._bench, self._systems = scenario, record, bench, systems

    def round(self, number: int) -> None:
        """Each system once; every second round in the other order."""
        scenario = self._scenario
        patience = scenario.camera_deadline_seconds + _PATIENCE_SECONDS
        order = self._systems if number % 2 else self._systems[::-1]
        turns = {
            name: self._bench.turn(name, scenario.camera_warm_seconds, scenario.seconds, patience) for name in order
        }
        for name in self._systems:
            add_turn(self._record, name, turns[name], scenario.camera_deadline_seconds)
            if name != EDGE:
                shares = self._record.details.setdefault(f"{CASE}/{name} agrees with edge on pictures, share", [])
                shares.append(compare_answers(name, turns[EDGE], turns[name], self._bench.distinct))
        add_ratios(self._record, self._systems)
        epoch = time.time() - time.monotonic()
        add_parts(self._record, f"{CASE}/{EDGE}", [parts_of(one, epoch + one.made) for one in turns[EDGE].results])


def begin_camera(
    scenario: Video, capacity: float, site: LiveSite, work: Path, record: Record, stack: ExitStack
) -> CameraCase | None:
    """Start the camera; None where the scenario does not want it, or it cannot run: then the record says why.

    `capacity`: frames a second that the bare peer analyses one after the other.
    """
    if not scenario.camera:
        return None
    reason = why_not(scenario.pipeline)
    if scenario.camera_deadline_seconds < _ROOM / capacity:
        deadline, needed = 1000 * scenario.camera_deadline_seconds, 1000 / capacity
        reason = f"a frame takes {needed:.0f} ms: a deadline of {deadline:g} ms leaves no room"
    if reason is not None:
        record.problem(f"{CASE} was not measured: {reason}")
        return None
    record.notes.extend(NOTES)
    bench = CameraBench(
        site, work, record, stack, rate=scenario.frames_per_second, deadline_seconds=scenario.camera_deadline_seconds
    )
    return CameraCase(scenario, record, bench, measured_systems(record))


def add_turn(record: Record, name: str, turn: Turn, deadline_seconds: float) -> None:
    """Add a system's part of a round."""
    of, latencies, in_time = f"{CASE}/{name}", turn.latencies, turn.within(deadline_seconds)
    record.add_latencies(of, Mode.FIXED_RATE, latencies, unanswered=turn.frames - len(latencies))
    record.add_deadline(of, deadline_seconds, turn.frames, turn.frames - in_time, DEADLINE_KEY)
    record.add(f"{of} p50", 1000 * median(latencies), "ms", higher_is_better=False)
    record.add(f"{of} p99", 1000 * percentile(latencies, 99), "ms", higher_is_better=False)
    record.add(f"{of}, in time", in_time / turn.frames, "share", higher_is_better=True)


def add_ratios(record: Record, systems: tuple[str, ...]) -> None:
    """Set the ratios of edge to the others, from all rounds so far."""
    for name in systems:
        if name != EDGE:
            for figure in ("p50", "p99"):
                of = (f"{CASE}/{EDGE} {figure}", f"{CASE}/{name} {figure}")
                record.add_ratio(f"{CASE}/{EDGE} : {name}, {figure}", of, higher_is_better=False)
