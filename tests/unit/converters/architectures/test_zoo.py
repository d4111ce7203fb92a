"""The networks that the tests convert are those of the literature."""

import pytest
import torch
from support.zoo import NETWORKS

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
