"""Networks of volumes that users have: from a PyTorch checkpoint to engines that passed their gate."""

import pytest
from support.zoo import LOSS_ALLOWED, NETWORKS, write_network
from support.zoo_table import convert, pairwise, product

NAMES = [name for name, network in NETWORKS.items() if len(network.spatial) == 3]
SOME = pairwise(NAMES)
REST = [case for case in product(NAMES) if case not in SOME]
CASES = [*SOME, *(pytest.param(*case, marks=pytest.mark.full) for case in REST)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a network with card, checkpoint and samples; made once."""
    engines, made = tmp_path_factory.mktemp("engines"), {}

    def write(name):
        if name not in made:
            made[name] = write_network(name, engines)
        return made[name]

    return write


@pytest.mark.parametrize(("name", "target", "precision"), CASES)
def test_a_checkpoint_becomes_an_engine(written, name, target, precision):
    """As PyTorch computes it in FP32, and in lower precision with task metrics that the card allows."""
    row = convert(written(name), target, precision)
    if precision == "fp32":
        assert row.error <= NETWORKS[name].tolerance
    else:
        assert row.found >= row.fp32 - LOSS_ALLOWED
    assert (row.p50_seconds is None) == (target == "tensorrt-rtx")
