"""A stage goes its way on the device only where its golden picture is prepared and read there as by the host."""

import numpy as np
import pytest

from edge_runtime.engines.views import LabelAnswer, Region
from edge_runtime.errors import InferenceFailed
from edge_runtime.stages.golden_run import same_answers

BOX = Region((0, 1, 1), (1, 3, 3))
MASK = np.eye(4, dtype=bool)
FOUND = LabelAnswer("polyp", 0.7, MASK, regions=(BOX,), scores=(0.7,))
OTHERS = {
    "probability": LabelAnswer("polyp", 0.6, MASK, regions=(BOX,), scores=(0.7,)),
    "mask": LabelAnswer("polyp", 0.7, ~MASK, regions=(BOX,), scores=(0.7,)),
    "no mask": LabelAnswer("polyp", 0.7, None, regions=(BOX,), scores=(0.7,)),
    "no region": LabelAnswer("polyp", 0.7, MASK),
    "place": LabelAnswer("polyp", 0.7, MASK, regions=(Region((0, 1, 1), (1, 3, 4)),), scores=(0.7,)),
    "score": LabelAnswer("polyp", 0.7, MASK, regions=(BOX,), scores=(0.4,)),
}


def test_readings_that_say_the_same_are_the_same():
    near = LabelAnswer("polyp", 0.70001, MASK.copy(), regions=(BOX,), scores=(0.70001,))
    assert same_answers((FOUND,), (near,), 1e-4)
    assert same_answers((), (), 0.0)
    assert same_answers(InferenceFailed("a"), InferenceFailed("b"), 0.0)


@pytest.mark.parametrize("other", OTHERS)
def test_readings_that_differ_are_told(other):
    assert not same_answers((FOUND,), (OTHERS[other],), 1e-4)
    assert not same_answers((OTHERS[other],), (FOUND,), 1e-4)


def test_a_reading_and_none_differ():
    assert not same_answers((FOUND,), InferenceFailed("not finite"), 1e-4)
    assert not same_answers(InferenceFailed("not finite"), (FOUND,), 1e-4)
