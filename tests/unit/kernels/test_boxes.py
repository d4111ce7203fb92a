"""What the kernels for boxes give does not depend on the order in which threads come."""

import numpy as np
import pytest
from support.decodings import box_card
from support.host_kernels import launch

from edge_runtime.postprocess.on_device.boxes import BoxDecoding

CARD = box_card("yolov8", (64, 96), 400, {0: 0.25}, overlap=0.3, maximum_regions=400)


def answers(order):
    """The answer of 400 boxes with many equal scores, their keys handed in as `order` has it."""
    decoding, generator = BoxDecoding(CARD, None, None), np.random.default_rng(4)
    output = np.concatenate([generator.uniform(0, 60, (4, 400)), generator.integers(0, 9, (1, 400)) / 8])
    output = output.astype(np.float32)
    block = decoding.place(None)
    counts, keys, candidates, falls = (np.zeros(*tensor) for tensor in decoding.scratch_tensors())
    (answer,) = (np.full(*tensor) for tensor in [(decoding.result_tensors(())[0][0], -7.0)])
    one = (1, 1, 1)
    launch("box_collect", (400, 1, 1), one, output, np.uint32(0), block, counts, keys)
    above = counts[1]
    keys[0, :above] = keys[0, order(np.arange(above))]
    launch("box_rank", (400, 1, 1), one, output, np.uint32(0), block, counts, keys, candidates)
    launch("box_overlap", (32, 1000, 1), one, block, counts, candidates, falls)
    launch("box_keep", one, one, block, counts, candidates, falls, answer)
    return answer


@pytest.mark.parametrize("order", [np.flip, np.random.default_rng(1).permutation], ids=["reversed", "shuffled"])
def test_candidates_may_come_in_any_order(order):
    expected = answers(lambda numbers: numbers)
    kept = int(expected[0, 0, 1])
    assert 20 < kept < 400 and np.array_equal(answers(order), expected)
    assert (expected[0, 1 + kept :] == -7).all()  # beyond what is kept nothing is written
