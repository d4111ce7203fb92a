"""A frame is what its seed says, and its truth is what is seen in it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from converters.reference.endoscopy import baseline
from converters.reference.endoscopy.camera import Camera
from converters.reference.endoscopy.frames import (
    BLURRED,
    CLEAR,
    KINDS,
    OUTSIDE,
    POLYP,
    Frame,
    draw_growths,
    inside_frame,
    make_frame,
    make_frames,
)
from converters.reference.endoscopy.growths import Growth, Kind
from converters.reference.endoscopy.picture import Optics
from converters.reference.endoscopy.tunnel import draw_tunnel

pytestmark = pytest.mark.slow

PATIENTS = range(4)
EXPECTED = {"seed": 1, "polyps": [2, 3, 4], "pixels": 8592, "mean": [95.64, 64.20, 48.79]}


@lru_cache
def frames(seed: int) -> dict[str, Frame]:
    return dict(zip(KINDS, make_frames(seed, KINDS), strict=True))


def polyps() -> list[tuple[Frame, np.ndarray, tuple[int, int, int, int]]]:
    return [(frames(s)[POLYP], p.mask, p.box) for s in PATIENTS for p in frames(s)[POLYP].polyps]


def test_every_kind_of_frame_has_the_truth_of_its_kind():
    for seed in PATIENTS:
        for kind, frame in frames(seed).items():
            assert frame.pixels.shape == (360, 480, 3) and frame.pixels.dtype == np.uint8
            assert frame.informative == (kind in {POLYP, CLEAR})
            assert frame.inside == (kind != OUTSIDE)
            assert kind == POLYP or frame.polyps == ()
    assert len(polyps()) >= 3


def test_a_box_is_that_of_its_mask():
    for frame, mask, (top, left, bottom, right) in polyps():
        assert mask.shape == frame.pixels.shape[:2] and mask.dtype == np.bool_
        inside = mask[top:bottom, left:right]
        assert np.count_nonzero(inside) == np.count_nonzero(mask) >= 0.002 * mask.size
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
    frame = frames(0)[POLYP]
    assert np.count_nonzero(frame.truth) == sum(np.count_nonzero(p.mask) for p in frame.polyps)


def test_a_polyp_is_seen_where_its_mask_is():
    """Over its outline grey levels change more than they do elsewhere."""
    ratios = []
    for frame, mask, _ in polyps():
        slope = ndimage.gaussian_gradient_magnitude(frame.pixels.mean(axis=-1), 1.0)
        edge = ndimage.binary_dilation(mask, iterations=2) & ~ndimage.binary_erosion(mask, iterations=2)
        around = ndimage.binary_dilation(mask, iterations=25) & ~ndimage.binary_dilation(mask, iterations=4)
        ratios.append(slope[edge].mean() / slope[around].mean())
    assert np.median(ratios) > 1.5


def test_blurred_frames_are_less_sharp_and_rooms_less_red():
    sharp = {kind: np.mean([baseline.sharpness(frames(s)[kind].pixels) for s in PATIENTS]) for kind in (CLEAR, BLURRED)}
    assert sharp[BLURRED] < 0.8 * sharp[CLEAR]
    red = {kind: np.mean([baseline.redness(frames(s)[kind].pixels) for s in PATIENTS]) for kind in (CLEAR, OUTSIDE)}
    assert red[OUTSIDE] < red[CLEAR] - 0.05


def test_a_polyp_in_a_blurred_frame_does_not_count():
    """The same view, once sharp and once moved."""
    rng = np.random.default_rng(1)
    polyp = Growth(Kind.POLYP, 3.0, 0.5, 0.35)
    tunnel = draw_tunnel(rng, 9.0, [polyp])
    camera = Camera(polyp.along - 0.9)
    sharp, moved = (inside_frame(rng, tunnel, camera, Optics(4.0, m), 180, 240) for m in (0.0, 0.05))
    assert sharp.informative and [p.number for p in sharp.polyps] == [1]
    assert moved.inside and not moved.informative and moved.polyps == ()


def test_the_corners_are_dark_and_the_lumen_is_darker_than_the_wall():
    cut = [frames(s)[CLEAR].pixels[:8, :8].mean() for s in PATIENTS]
    assert min(cut) < 8
    for seed in PATIENTS:
        grey = frames(seed)[CLEAR].pixels.mean(axis=-1)[40:-40, 60:-60]
        assert np.percentile(grey, 2) < 0.5 * np.median(grey) and np.median(grey) > 25


def test_look_alikes_are_in_frames_with_and_without_polyps():
    assert any(frames(s)[POLYP].look_alikes for s in PATIENTS)
    seen = {name for s in PATIENTS for name in frames(s)[CLEAR].look_alikes}
    assert seen and "polyp" not in seen


def test_look_alikes_are_never_among_the_polyps():
    for seed in PATIENTS:
        alike = {k + 1 for k, growth in enumerate(growths_of(seed)) if growth.kind is not Kind.POLYP}
        assert alike and not alike & {p.number for p in frames(seed)[POLYP].polyps}


def growths_of(seed: int) -> list[Growth]:
    return draw_growths(np.random.default_rng(np.random.SeedSequence((seed, 5))), 10.0)


def test_the_same_seed_gives_the_same_frame_and_another_seed_another():
    again = dict(zip(KINDS, make_frames(2, KINDS), strict=True))
    for kind, frame in frames(2).items():
        assert np.array_equal(again[kind].pixels, frame.pixels)
        assert np.array_equal(again[kind].truth, frame.truth)
        assert not np.array_equal(frames(3)[kind].pixels, frame.pixels)


def test_a_seed_means_the_same_frame_on_every_machine():
    """Summary numbers, with room for another library's last digits; a change of the generator must be on purpose."""
    frame = frames(EXPECTED["seed"])[POLYP]
    assert [p.number for p in frame.polyps] == EXPECTED["polyps"]
    assert int(frame.truth.sum()) == pytest.approx(EXPECTED["pixels"], rel=0.02)
    assert frame.pixels.mean(axis=(0, 1)) == pytest.approx(EXPECTED["mean"], abs=0.5)


def test_frames_of_another_size_are_of_that_size():
    frame = make_frame(1, POLYP, 90, 160)
    assert frame.pixels.shape == (90, 160, 3)
    assert all(p.mask.shape == (90, 160) for p in frame.polyps)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kinds are of"):
        make_frame(1, "ulcer")


def test_frames_cannot_be_changed():
    _, mask, _ = polyps()[0]
    with pytest.raises(ValueError, match="read-only"):
        mask[0, 0] = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        frames(0)[POLYP].informative = False


@pytest.mark.parametrize("module", ["video", "evaluation", "sets"])
def test_frames_and_evaluation_need_neither_torch_nor_av(module):
    code = f"import sys, converters.reference.endoscopy.{module}; sys.exit(bool({{'torch', 'av'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
