"""Components and holes are those that one finds by walking from voxel to voxel."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from edge_runtime.postprocess.components import fill_holes, label_components, largest_component

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=3, max_side=6))


def reached(mask, seeds, faces_only):
    """Every index of the mask that a way of neighbours leads to from the seeds."""
    steps = [s for s in itertools.product((-1, 0, 1), repeat=mask.ndim) if any(s)]
    if faces_only:
        steps = [s for s in steps if sum(map(abs, s)) == 1]
    found, todo = set(), [s for s in seeds if mask[s]]
    while todo:
        index = todo.pop()
        if index in found:
            continue
        found.add(index)
        for step in steps:
            near = tuple(a + b for a, b in zip(index, step, strict=True))
            if all(0 <= a < n for a, n in zip(near, mask.shape, strict=True)) and mask[near]:
                todo.append(near)
    return found


def walked_components(mask):
    left, parts = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        part = reached(mask, [next(iter(left))], faces_only=False)
        parts.append(part)
        left -= part
    return parts


@given(MASKS)
def test_the_largest_component_is_connected_whole_and_no_smaller_than_any_other(mask):
    kept = set(zip(*np.nonzero(largest_component(mask)), strict=True))
    parts = walked_components(mask)
    assert (kept in parts and len(kept) == max(map(len, parts))) if parts else not kept


@given(MASKS)
def test_every_component_is_given_once_the_largest_first(mask):
    found = []
    for part, corner in label_components(mask):
        found.append({tuple(np.add(i, corner)) for i in zip(*np.nonzero(part), strict=True)})
    assert sorted(map(sorted, found)) == sorted(map(sorted, walked_components(mask)))
    assert [len(part) for part in found] == sorted(map(len, found), reverse=True)


@given(MASKS)
def test_filled_is_all_that_the_outside_does_not_reach_over_faces(mask):
    border = [i for i in np.ndindex(mask.shape) if any(a in (0, n - 1) for a, n in zip(i, mask.shape, strict=True))]
    outside = reached(~mask, border, faces_only=True)
    assert set(zip(*np.nonzero(~fill_holes(mask)), strict=True)) == outside


def test_a_hole_in_a_shell_is_filled_and_the_mask_given_is_not_touched():
    shell = np.zeros((7, 7, 7), bool)
    shell[1:6, 1:6, 1:6] = True
    shell[3, 3, 3] = False
    before = shell.copy()
    filled = fill_holes(shell)
    assert filled[3, 3, 3] and np.count_nonzero(filled) == 125 and (shell == before).all()


@pytest.mark.parametrize("work", [largest_component, fill_holes])
def test_an_empty_mask_stays_empty(work):
    assert not work(np.zeros((3, 3, 3), bool)).any()
