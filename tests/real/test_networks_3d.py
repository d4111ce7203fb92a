"""Networks of volumes that users have: from a PyTorch checkpoint to engines that passed their gate."""

import pytest
from support.zoo_table import cases, check


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


@pytest.mark.parametrize(("name", "target", "precision"), cases(3))
def test_a_checkpoint_becomes_an_engine(engines, name, target, precision):
    check(name, target, precision, engines)
