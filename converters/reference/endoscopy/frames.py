"""Single frames of an endoscopy whose truth is known pixel by pixel. The same seed, the same frame.

They are computed, not taken from a patient: no peristalsis, no instruments, no disease but polyps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from converters.reference.endoscopy.camera import Camera, look
from converters.reference.endoscopy.growths import LOOK_ALIKES, Growth, Kind, draw_growth
from converters.reference.endoscopy.picture import Optics, develop, draw_room, field_of_view
from converters.reference.endoscopy.tunnel import Tunnel, draw_tunnel
from edge_runtime.domain import Array

ROWS, COLUMNS = 360, 480
POLYP, CLEAR, BLURRED, OUTSIDE = KINDS = ("polyp", "clear", "blurred", "outside")
_LEAST_SHARE = 0.002  # of the picture: a polyp of which less is seen does not count
_DARKEST = 14  # grey level: what is darker is not seen
_LENGTH = 10.0


@dataclass(frozen=True, eq=False)
class Polyp:
    """A polyp as it is seen. mask: bool (rows, columns), read-only. box: row, column of start and stop, the mask's."""

    number: int
    mask: Array
    box: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Frame:
    """pixels: uint8 (rows, columns, 3), RGB. informative: inside of the body and sharp; only then polyps count."""

    pixels: Array
    inside: bool
    informative: bool
    polyps: tuple[Polyp, ...]
    look_alikes: tuple[str, ...] = ()

    @property
    def truth(self) -> Array:
        """All polyps as one mask, bool (rows, columns)."""
        joined = np.zeros(self.pixels.shape[:2], dtype=np.bool_)
        for polyp in self.polyps:
            joined |= polyp.mask
        return joined


def make_frame(seed: int, kind: str, rows: int = ROWS, columns: int = COLUMNS) -> Frame:
    """The first frame of `make_frames`."""
    return make_frames(seed, (kind,), rows, columns)[0]


def make_frames(seed: int, kinds: Sequence[str], rows: int = ROWS, columns: int = COLUMNS) -> list[Frame]:
    """Frames of one patient of these kinds: a polyp in view, none, too blurred, outside of the body.

    Raises:
        ValueError: a kind is none of KINDS.
    """
    if not set(kinds) <= set(KINDS):
        raise ValueError(f"kinds are of {', '.join(KINDS)}, got {', '.join(kinds)}")
    rng = np.random.default_rng(np.random.SeedSequence((seed, 5)))
    tunnel = draw_tunnel(rng, _LENGTH, draw_growths(rng, _LENGTH))
    scope = draw_scope(rng)
    return [_frame(rng, tunnel, scope, kind, rows, columns) for kind in kinds]


def draw_growths(rng: np.random.Generator, length: float) -> list[Growth]:
    """Polyps and look-alikes along a tunnel, with some of it free of polyps."""
    growths = [draw_growth(rng, Kind.POLYP, at) for at in np.arange(2.0, length * 0.62, rng.uniform(0.7, 1.3))]
    growths += [draw_growth(rng, Kind.POLYP, g.along + rng.uniform(-0.3, 0.3)) for g in growths if rng.uniform() < 0.3]
    for kind in LOOK_ALIKES:
        growths += [draw_growth(rng, kind, rng.uniform(0.5, length)) for _ in range(int(rng.integers(1, 8)))]
    return growths


def draw_scope(rng: np.random.Generator) -> Optics:
    """What stays the same during an examination."""
    corners, shade = rng.uniform(0.6, 1.0), rng.uniform(0.1, 0.6)
    return Optics(corners=corners, shade=shade, noise=rng.uniform(0.8, 4.0), warmth=rng.uniform(-0.07, 0.07))


def _frame(rng: np.random.Generator, tunnel: Tunnel, scope: Optics, kind: str, rows: int, columns: int) -> Frame:
    moved, unsharp = rng.uniform(0, 0.010), rng.uniform(0, 0.003)
    if kind == BLURRED or (kind == OUTSIDE and rng.uniform() < 0.4):
        moved, unsharp = (rng.uniform(0.025, 0.09), 0.0) if rng.uniform() < 0.5 else (0.0, rng.uniform(0.008, 0.05))
    exposure, moved_to = rng.uniform(2.5, 7.0), rng.uniform(0, np.pi)
    optics = dataclasses.replace(scope, exposure=exposure, moved=moved, moved_to=moved_to, unsharp=unsharp)
    if kind == OUTSIDE:
        room, row, column = draw_room(rng, rows, columns), rng.uniform(), rng.uniform()
        return outside_frame(rng, room.look(row, column, rows, columns), optics)
    polyps = [g for g in tunnel.growths if g.kind is Kind.POLYP]
    camera = draw_camera(rng, rng.choice(np.array([g.along for g in polyps])) if kind == POLYP else None)
    if kind == BLURRED and rng.uniform() < 0.25:  # against the wall
        row, column = rng.choice((-1.1, 1.1), 2).tolist()
        camera = Camera(camera.along, row, column, aside=rng.uniform(0.75, 0.95), aside_to=camera.roll)
        optics = dataclasses.replace(optics, unsharp=rng.uniform(0.01, 0.03))
    return inside_frame(rng, tunnel, camera, optics, rows, columns)


def draw_camera(rng: np.random.Generator, polyp_along: float | None) -> Camera:
    """A camera anywhere, or before a polyp; without one it is where the tunnel has none."""
    along = rng.uniform(_LENGTH * 0.66, _LENGTH * 0.72) if polyp_along is None else polyp_along - rng.uniform(0.6, 2.3)
    row, column, roll, bend_to, aside_to = (
        rng.normal(0, 0.16), rng.normal(0, 0.22), *rng.uniform(0, 2 * np.pi, 3)
    )  # fmt: skip
    return Camera(max(0.0, along), row, column, roll, rng.uniform(0, 0.06), bend_to, rng.uniform(0, 0.4), aside_to,
                  rng.uniform(0.36, 0.5))  # fmt: skip


def outside_frame(rng: np.random.Generator, light: Array, optics: Optics) -> Frame:
    """A frame outside of the body; light: float32 (rows, columns, 3), linear."""
    return Frame(develop(rng, light, optics), False, False, ())


def inside_frame(
    rng: np.random.Generator, tunnel: Tunnel, camera: Camera, optics: Optics, rows: int, columns: int
) -> Frame:
    """A frame in the tunnel, exposed as for its median; polyps count where it is sharp and enough of them is seen."""
    view = look(tunnel, camera, rows, columns)
    middle = view.light[::8, ::8].mean(axis=-1)
    gain = 0.16 / (float(np.quantile(middle, 0.6)) + 0.02)
    optics = dataclasses.replace(optics, exposure=optics.exposure * gain)
    pixels = develop(rng, view.light, optics)
    visible = field_of_view(rows, columns, optics.corners)
    seen = np.bincount(view.labels[visible], minlength=len(tunnel.growths) + 1)[1:]
    pairs = [(growth.kind, int(count)) for growth, count in zip(tunnel.growths, seen, strict=True)]
    look_alikes = {kind.value for kind, count in pairs if kind is not Kind.POLYP and count}
    polyps = np.array([count if kind is Kind.POLYP else 0 for kind, count in pairs])
    found = _polyps(pixels, np.where(visible, view.labels, 0), polyps) if optics.sharp else ()
    return Frame(pixels, True, optics.sharp, found, tuple(sorted(look_alikes)))


def _polyps(pixels: Array, labels: Array, counts: Array) -> tuple[Polyp, ...]:
    """Every polyp of which enough is seen: in the field of view, near enough, and not in the dark."""
    least = _LEAST_SHARE * labels.size
    found = []
    for index in np.flatnonzero(counts >= least):
        mask = labels == index + 1
        if float(pixels[mask].mean()) < _DARKEST:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        mask.setflags(write=False)
        box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        found.append(Polyp(int(index) + 1, mask, box))
    return tuple(found)
