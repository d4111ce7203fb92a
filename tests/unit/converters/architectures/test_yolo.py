"""Our YOLO definitions have the parameters, keys and outputs of the published ones."""

import pytest
import torch
from torch import nn

from converters.architectures.yolo import yolov5, yolov8


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def without_norm(network):
    """Parameters after each batch normalization is folded into its convolution, which then has a bias."""
    return parameters(network) - sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.BatchNorm2d))


# Ultralytics' model summaries, 80 classes, before and after fusing (github.com/ultralytics: yolov5 release 6.0 and
# 7.0, docs.ultralytics.com/models/yolov8; threads ultralytics#8784 and #19662, pytorch-grad-cam#496).
PUBLISHED = [
    (yolov5, "n", 1_872_157, 1_867_405),
    (yolov5, "s", 7_235_389, 7_225_885),
    (yolov5, "m", 21_190_557, 21_172_173),
    (yolov5, "l", 46_563_709, 46_533_693),
    (yolov8, "n", 3_157_200, 3_151_904),
    (yolov8, "s", 11_166_560, 11_156_544),
    (yolov8, "m", 25_902_640, 25_886_080),
]


@pytest.mark.parametrize(
    ("make", "variant", "whole", "fused"), PUBLISHED, ids=[f"{m.__name__}{v}" for m, v, *_ in PUBLISHED]
)
def test_the_parameters_are_as_many_as_published(make, variant, whole, fused):
    with torch.device("meta"):
        network = make(variant=variant)
    assert (parameters(network), without_norm(network)) == (whole, fused)


@pytest.mark.parametrize(
    ("make", "arguments", "size", "shape"),
    [
        (yolov5, {"variant": "m"}, (3, 640, 640), (1, 25200, 85)),
        (yolov8, {"variant": "n"}, (3, 640, 640), (1, 84, 8400)),
        (yolov5, {"variant": "n", "classes": 2, "channels": 1}, (1, 320, 640), (1, 12600, 7)),
        (yolov8, {"variant": "n", "classes": 2, "channels": 1, "dimensions": 3}, (1, 64, 64, 96), (1, 8, 876)),
    ],
)
def test_the_output_has_the_published_layout(make, arguments, size, shape):
    with torch.device("meta"):  # shapes without arithmetic
        assert make(**arguments).eval()(torch.zeros(1, *size)).shape == shape


def test_the_keys_are_those_of_published_checkpoints():
    with torch.device("meta"):
        five = {key: tuple(value.shape) for key, value in yolov5("m").state_dict().items()}
        eight = {key: tuple(value.shape) for key, value in yolov8("n").state_dict().items()}
    assert len(five) == 481 and len(eight) == 355
    for key, shape in {
        "model.0.conv.weight": (48, 3, 6, 6),
        "model.2.m.1.cv2.conv.weight": (48, 48, 3, 3),
        "model.8.cv3.bn.running_var": (768,),
        "model.9.cv2.conv.weight": (768, 1536, 1, 1),
        "model.23.m.1.cv1.conv.weight": (384, 384, 1, 1),
        "model.24.anchors": (3, 3, 2),
        "model.24.m.0.weight": (255, 192, 1, 1),
    }.items():
        assert five[key] == shape
    for key, shape in {
        "model.0.conv.weight": (16, 3, 3, 3),
        "model.4.m.1.cv1.conv.weight": (32, 32, 3, 3),
        "model.21.cv2.conv.weight": (256, 384, 1, 1),
        "model.22.cv2.0.0.conv.weight": (64, 64, 3, 3),
        "model.22.cv3.2.2.bias": (80,),
        "model.22.dfl.conv.weight": (1, 16, 1, 1),
    }.items():
        assert eight[key] == shape


def small(make, **arguments):
    network = make(variant="n", classes=2, channels=1, **arguments).eval()
    with torch.no_grad():
        for layer in network.model[-1].modules():
            if isinstance(layer, (nn.Conv2d, nn.Conv3d)) and layer.bias is not None:
                layer.weight.zero_()
                layer.bias.zero_()
    return network


@torch.no_grad()
def test_a_yolov5_head_that_says_nothing_gives_its_anchors_around_the_cells_centres():
    boxes = small(yolov5)(torch.rand(1, 1, 64, 32))[0]
    assert boxes.shape == (3 * (8 * 4 + 4 * 2 + 2 * 1), 7)
    assert boxes[0].tolist() == [4.0, 4.0, 10.0, 13.0, 0.5, 0.5, 0.5]
    assert boxes[1, :2].tolist() == [12.0, 4.0]  # the column runs fastest
    assert boxes[32, :4].tolist() == [4.0, 4.0, 16.0, 30.0]  # then the cells, then the anchors
    assert boxes[-1, :4].tolist() == [16.0, 48.0, 373.0, 326.0]


@torch.no_grad()
def test_anchors_that_training_fitted_are_those_of_the_checkpoint():
    network = small(yolov5)
    network.load_state_dict(network.state_dict() | {"model.24.anchors": torch.full((3, 3, 2), 2.0)})
    boxes = network(torch.zeros(1, 1, 32, 32))[0]
    assert boxes[0, 2:4].tolist() == [16.0, 16.0] and boxes[-1, 2:4].tolist() == [64.0, 64.0]


@torch.no_grad()
@pytest.mark.parametrize(
    ("dimensions", "size", "centre", "extent"),
    [
        (2, (64, 32), (1, 0), (4, 6)),  # x, y
        (3, (64, 32, 32), (0, 0, 1), (4, 6, 8)),  # z, y, x
    ],
)
def test_a_yolov8_box_reaches_from_its_cell_to_each_side(dimensions, size, centre, extent):
    """Sides 1, 2, 3 before the centre of the second cell and 3, 4, 5 behind it, in cells of 8 pixels."""
    network = small(yolov8, dimensions=dimensions)
    sides = (1, 2, 3)[:dimensions] + (3, 4, 5)[:dimensions]
    for branch in network.model[-1].cv2:
        branch[-1].bias.view(-1, 16)[range(len(sides)), sides] = 99.0  # all the weight on that bin
    boxes = network(torch.rand(1, 1, *size))[0]
    assert boxes[:dimensions, 1].tolist() == [8 * (c + 0.5 + 1) for c in centre]  # (behind - before) / 2 is 1 cell
    assert boxes[dimensions : 2 * dimensions, 1].tolist() == [8.0 * e for e in extent]
    assert boxes[2 * dimensions :, 1].tolist() == [0.5, 0.5]
    assert boxes[dimensions : 2 * dimensions, -1].tolist() == [32.0 * e for e in extent]


def test_a_network_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="variant: is one of n, s, m, l, x, got 'q'"):
        yolov5("q")
    with pytest.raises(ValueError, match="dimensions: is 2 or 3, got 4"):
        yolov8(dimensions=4)
