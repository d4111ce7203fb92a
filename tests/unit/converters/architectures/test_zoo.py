"""The networks that the tests convert are those of the literature, and few conversions cover every pair."""

import itertools

import pytest
import torch
from support.zoo import NETWORKS
from support.zoo_table import pairwise, product

PUBLISHED = [name for name, network in NETWORKS.items() if network.published is not None]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_has_as_many_parameters_as_published(name):
    """ResNet-18 and EfficientNet: torchvision's documentation, 1,000 classes; YOLO: Ultralytics', 80 classes."""
    with torch.device("meta"):
        network = NETWORKS[name].make(**NETWORKS[name].published_arguments)
    assert sum(parameter.numel() for parameter in network.parameters()) == NETWORKS[name].published


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_the_output_of_its_card(name):
    network = NETWORKS[name]
    with torch.device("meta"), torch.no_grad():
        assert network.make()(torch.zeros(network.shape)).shape == network.output


@pytest.mark.parametrize("axes", [2, 3])
def test_the_conversions_of_every_test_run_hold_every_pair(axes):
    """Network and target, network and precision, target and precision."""
    names = [name for name, network in NETWORKS.items() if len(network.spatial) == axes]
    some = pairwise(names)
    for first, second in itertools.combinations(range(3), 2):
        assert {(c[first], c[second]) for c in some} == {(c[first], c[second]) for c in product(names)}
