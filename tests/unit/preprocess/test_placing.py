"""Orientation and region do not depend on how the slices were cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.domain import Geometry
from edge_runtime.engines.views import Placement, Region
from edge_runtime.preprocess.placing import cut_to, oriented, whole

AXES = np.eye(3)
TURNS = [
    tuple(sign * AXES[axis] for sign, axis in zip(signs, axes, strict=True))
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def geometry(directions, shape):
    return Geometry(shape, (0.0, 0.0, 0.0), tuple(tuple(map(float, d)) for d in directions), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("directions", TURNS)
def test_every_turn_of_a_volume_is_oriented_to_the_same_array(directions):
    # A point's value tells its patient position: L + 10 P + 100 S, counted from the volume's corner.
    extent = (2, 3, 4)  # along L, P, S
    shape = tuple(extent[int(np.argmax(np.abs(d)))] for d in directions)
    voxels = np.zeros(shape)
    for index in np.ndindex(shape):
        position = sum(
            (i if d.sum() > 0 else n - 1 - i) * np.abs(d) for i, n, d in zip(index, shape, directions, strict=True)
        )
        voxels[index] = position @ [1, 10, 100]
    turned = oriented(geometry(directions, shape), "RAS").orient(voxels)
    expected = [[[(1 - r) + 10 * (2 - a) + 100 * s for s in range(4)] for a in range(3)] for r in range(2)]
    assert turned.tolist() == expected


@pytest.mark.parametrize("degrees", [-40, -10, 10, 40])
def test_an_oblique_volume_goes_to_the_closest_axes(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    tilted = ((0.0, -s, c), (0.0, c, s), (1.0, 0.0, 0.0))
    placement = oriented(geometry(tilted, (5, 6, 7)), "RAS")
    assert (placement.axes, placement.flipped) == ((2, 1, 0), (True, True, False))


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 200)), min_size=3, max_size=3),
    st.sampled_from([0.0, 0.1, 0.25, 3.0]),
    st.tuples(*[st.booleans()] * 3),
)
def test_a_cut_is_the_same_seen_from_either_end_and_lies_within_the_source(edges, margin, flips):
    shape = (150, 151, 152)
    plain = [(min(a, n - 1) / 2, min(a, n - 1) / 2 + b / 2) for (a, b), n in zip(edges, shape, strict=True)]
    seen = [(n - b, n - a) if f else (a, b) for (a, b), n, f in zip(plain, shape, flips, strict=True)]
    cuts = [
        cut_to(
            Placement(shape, (0, 1, 2), flipped, (0, 0, 0), shape),
            Region(tuple(a for a, _ in pairs), tuple(b for _, b in pairs)),
            margin,
        )
        for flipped, pairs in (((False,) * 3, plain), (flips, seen))
    ]
    assert (cuts[0].start, cuts[0].stop) == (cuts[1].start, cuts[1].stop)
    for a, b, n, (low, high) in zip(cuts[0].start, cuts[0].stop, shape, plain, strict=True):
        assert 0 <= a < b <= n and a <= low and min(high, n) <= b


def test_the_rounding_is_that_of_the_published_procedure():
    # Centre 91.207, 110.1953, 82.0156 and extent 142.8203, 176.3125, 149.8906 were cut to these voxels.
    centre, size = np.array([91.20703125, 110.1953125, 82.015625]), np.array([142.8203125, 176.3125, 149.890625])
    region = Region(tuple(centre - size / 2), tuple(centre + size / 2))
    cut = cut_to(whole((181, 217, 181)), region, 0.1)
    assert (cut.start, cut.stop) == ((5, 4, 0), (176, 216, 172))


@given(st.data())
def test_a_cut_holds_its_region_and_is_never_less_than_asked_for(data):
    shape = data.draw(st.tuples(*[st.integers(1, 30)] * 3))
    start = [data.draw(st.integers(0, n - 1)) for n in shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)]
    least = data.draw(st.tuples(*[st.integers(1, 40)] * 3))
    flipped = data.draw(st.tuples(*[st.booleans()] * 3))
    turned = Placement(shape, (0, 1, 2), flipped, (0, 0, 0), shape)
    cut = cut_to(turned, Region(tuple(map(float, start)), tuple(map(float, stop))), 0.0, least)
    for k in range(3):
        low, high = (shape[k] - stop[k], shape[k] - start[k]) if flipped[k] else (start[k], stop[k])
        assert 0 <= cut.start[k] <= low < high <= cut.stop[k] <= shape[k]
        assert cut.stop[k] - cut.start[k] >= min(least[k], shape[k])
