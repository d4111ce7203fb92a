"""The tests' choice of networks, targets and precisions holds every pair."""

import itertools

from support.zoo_table import PRECISIONS, TARGETS, pairwise, product

NAMES = ["a", "b", "c"]


def test_every_pair_is_in_the_choice():
    chosen, whole = pairwise(NAMES), product(NAMES)
    assert set(chosen) < set(whole) and len(whole) == len(NAMES) * len(TARGETS) * len(PRECISIONS)
    for one, two in itertools.combinations(range(3), 2):
        assert {(case[one], case[two]) for case in chosen} == {(case[one], case[two]) for case in whole}
