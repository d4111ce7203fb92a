"""Moving sequences: a scope goes in, looks at polyps, is shaken, meets look-alikes and the wall.

Every frame is computed by itself, so any of them can be asked for in any order.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum

import numpy as np

from converters.reference.endoscopy.camera import Camera
from converters.reference.endoscopy.frames import COLUMNS, ROWS, Frame, draw_scope, inside_frame, outside_frame
from converters.reference.endoscopy.growths import Growth, Kind, draw_growth
from converters.reference.endoscopy.picture import Optics, Room, draw_room
from converters.reference.endoscopy.tunnel import Tunnel, draw_tunnel

_SPEED, _SHORTEST, _LONGEST = 0.55, 6.5, 15.0  # radii a second; of the way in, in radii
_ENTRY_SECONDS, _FEWEST_SECONDS = 0.7, 5
_BEST, _REACH = 1.25, 1.3  # how far ahead a polyp is looked at, and how far around that


class Phase(Enum):
    """What goes on in a part of a sequence."""

    OUTSIDE = "outside"
    ENTRY = "entry"
    INSPECTION = "inspection"
    SHAKEN = "shaken"
    LOOK_ALIKES = "look_alikes"
    WALL = "wall"


_STRETCHES = {Phase.SHAKEN: (0.50, 0.57), Phase.LOOK_ALIKES: (0.64, 0.78), Phase.WALL: (0.85, 0.89)}
"""From and to which share of the time inside."""


@dataclass(frozen=True, eq=False)
class Sequence:
    """A sequence of `count` frames. `frame(k)` is the k-th, `phase(k)` what goes on in it."""

    seed: int
    rows: int
    columns: int
    frames_per_second: float
    count: int
    tunnel: Tunnel
    room: Room
    scope: Optics
    way: float  # radii
    waves: tuple[tuple[float, float], ...]  # frequency in hertz and phase of what moves

    def seconds(self, index: int) -> float:
        """When a frame is taken, from the start."""
        return index / self.frames_per_second

    @property
    def entry_seconds(self) -> float:
        """When the scope goes in."""
        return max(0.6, 0.1 * self.count / self.frames_per_second)

    def phase(self, index: int) -> Phase:
        """What goes on in a frame."""
        at = self.seconds(index) - self.entry_seconds
        if at < 0:
            return Phase.OUTSIDE
        if at < _ENTRY_SECONDS:
            return Phase.ENTRY
        share = self._share(index)
        return next((phase for phase, (a, b) in _STRETCHES.items() if a <= share < b), Phase.INSPECTION)

    def frame(self, index: int) -> Frame:
        """A frame with its truth.

        Raises:
            IndexError: the sequence has no such frame.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"the sequence has {self.count} frames, asked for {index}")
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, 9, index)))
        phase, into = self.phase(index), self.seconds(index) - self.entry_seconds
        optics = self._optics(index, phase)
        if phase is Phase.OUTSIDE or (phase is Phase.ENTRY and into < _ENTRY_SECONDS / 2):
            closer = max(0.0, 1 + into) ** 2  # the last second before it goes in
            place = 0.5 + 0.3 * self._wave(index, 0), 0.5 + 0.5 * self._wave(index, 1)
            light = self.room.look(*place, self.rows, self.columns) * np.float32(1 - 0.7 * min(1.0, closer))
            return outside_frame(rng, light, dataclasses.replace(optics, exposure=2.5))
        return inside_frame(rng, self.tunnel, self.camera(index), optics, self.rows, self.columns)

    def camera(self, index: int) -> Camera:
        """Where the camera is, inside."""
        along = self._along(index)
        roll = 0.5 * self._wave(index, 2)
        row, column = 0.07 * self._wave(index, 3), 0.09 * self._wave(index, 4)
        for growth in self.tunnel.growths:
            ahead = growth.along - along
            if growth.kind is Kind.POLYP and abs(ahead - _BEST) < _REACH:
                turned = np.cos((ahead - _BEST) / _REACH * np.pi / 2) ** 2
                row -= 0.30 * turned * np.sin(growth.around - roll)
                column -= 0.38 * turned * np.cos(growth.around - roll)
        shaken = self._strength(index, Phase.SHAKEN)
        row += 0.004 * self._wave(index, 5) + 0.10 * shaken * self._wave(index, 6)
        column += 0.10 * shaken * self._wave(index, 5)
        wall = self._strength(index, Phase.WALL)
        return Camera(along, row + 0.7 * wall, column, roll, 0.03 * (1 + self._wave(index, 1)),
                      2 * self._wave(index, 0), 0.12 + 0.75 * wall, np.pi / 2 + roll)  # fmt: skip

    def _optics(self, index: int, phase: Phase) -> Optics:
        at, into = self.seconds(index), self.seconds(index) - self.entry_seconds
        flash = np.exp(-(into - 2.0) / 0.6) if into > 2.0 else 0.0  # the light is set anew
        shaken, wall = self._strength(index, Phase.SHAKEN), self._strength(index, Phase.WALL)
        entry = max(0.0, 1 - abs(into - _ENTRY_SECONDS / 2) / _ENTRY_SECONDS) if phase is not Phase.INSPECTION else 0.0
        moved = 0.003 * (1 + self._wave(index, 6)) + 0.09 * shaken
        return dataclasses.replace(
            self.scope,
            exposure=float(4.5 * (1 + 0.6 * flash)),
            moved=float(moved),
            moved_to=float(at * 7 % np.pi),
            unsharp=float(0.05 * entry + 0.04 * wall),
        )

    def _wave(self, index: int, number: int) -> float:
        """A movement to and fro, -1 to 1."""
        hertz, phase = self.waves[number]
        return float(np.sin(2 * np.pi * hertz * self.seconds(index) + phase))

    def _share(self, index: int) -> float:
        """The part of the time inside that has passed."""
        start = self.entry_seconds + _ENTRY_SECONDS
        return (self.seconds(index) - start) / max(1e-6, self.count / self.frames_per_second - start)

    def _strength(self, index: int, phase: Phase) -> float:
        """How strong what a phase brings is: from 0 to 1 and back within it."""
        if self.phase(index) is not phase:
            return 0.0
        start, stop = _STRETCHES[phase]
        return min(1.0, 2.5 * float(np.sin(np.pi * (self._share(index) - start) / (stop - start))))

    def _along(self, index: int) -> float:
        """In radii: forwards to the end of the way, and back again as long as it lasts."""
        inside = max(0.0, self.seconds(index) - self.entry_seconds)
        speed = max(_SPEED, self.way / (self.count / self.frames_per_second - self.entry_seconds))
        turn = (inside * speed) % (2 * self.way)
        return min(turn, 2 * self.way - turn)


def make_sequence(
    seed: int, seconds: float, rows: int = ROWS, columns: int = COLUMNS, frames_per_second: float = 25.0
) -> Sequence:
    """A sequence of at least three polyps; it begins outside of the body.

    Raises:
        ValueError: it is shorter than five seconds.
    """
    if seconds < _FEWEST_SECONDS:
        raise ValueError(f"a sequence is at least {_FEWEST_SECONDS} seconds long, got {seconds:g}")
    rng = np.random.default_rng(np.random.SeedSequence((seed, 8)))
    way = float(np.clip(0.9 * seconds * _SPEED, _SHORTEST, _LONGEST))
    growths = _growths(rng, way)
    tunnel = draw_tunnel(rng, way + 9.0, growths)
    hertz = (0.05, 0.11, 0.07, 0.23, 0.17, 3.1, 2.3)
    waves = tuple((each * rng.uniform(0.8, 1.2), rng.uniform(0, 2 * np.pi)) for each in hertz)
    count = round(seconds * frames_per_second)
    return Sequence(seed, rows, columns, frames_per_second, count, tunnel, draw_room(rng, rows, columns),
                    draw_scope(rng), way, waves)  # fmt: skip


def _growths(rng: np.random.Generator, way: float) -> list[Growth]:
    """Polyps evenly along the way, each elsewhere around it; look-alikes in their stretch, and bulges anywhere."""
    count = max(4, round(way / 2.6))
    turn = rng.uniform(0, 2 * np.pi)
    growths = [
        dataclasses.replace(
            draw_growth(rng, Kind.POLYP, way * (k + rng.uniform(0.35, 0.6)) / count + _BEST, turn + 2.4 * k),
            radius=float(rng.uniform(0.2, 0.36)),
        )
        for k in range(count)
    ]
    start, stop = (way * share + 1.0 for share in _STRETCHES[Phase.LOOK_ALIKES])
    growths += [draw_growth(rng, kind, rng.uniform(start, stop)) for kind in (Kind.STOOL, Kind.BUBBLES) * 4]
    growths += [draw_growth(rng, Kind.BULGE, at) for at in np.arange(1.0, way, 1.7)]
    return growths
