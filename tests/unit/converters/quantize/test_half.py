"""FP16 as a GPU computes it, on a processor."""

import numpy as np
import onnx
from onnx import helper
from support.lowered import convolutional, half, images
from support.models import network

from converters.measure.layers import Runner, compare_layers
from converters.quantize.half import rounded


def run(data, tensors, prepared):
    return Runner(onnx.load_from_string(data), tensors).run(prepared)


def test_every_result_is_a_number_of_fp16():
    """What a layer gives is rounded, and not only its weights; FP32 stays what comes in and goes out."""
    tensors = ["c1", "r1", "c2", "c3", "pooled", "logit", "probability"]
    data = rounded(half(convolutional()))
    found = run(data, tensors, images(1)[0])
    assert all(array.dtype == np.float32 for array in found)
    assert all(np.array_equal(array, array.astype(np.float16)) for array in found)
    alone = run(data, ["probability"], images(1)[0])[0]
    assert np.array_equal(alone, found[-1]), "what is looked at must not change what is computed"


def test_an_overflow_shows():
    """300 x 300 is no number of FP16; ONNX Runtime alone would go on with 90,000."""
    nodes = [
        helper.make_node("Mul", ["image", "image"], ["square"], "square"),
        helper.make_node("Mul", ["square", "small"], ["probability"], "scale"),
    ]
    fp32 = network(nodes, {"image": (1, 1)}, {"probability": (1, 1)}, {"small": np.float32(1e-3)})
    prepared = np.array([[300]], np.float32)
    assert np.isinf(run(rounded(half(fp32)), ["probability"], prepared)[0])
    assert compare_layers(fp32, half(fp32), [prepared])[-1].maximum_absolute_error == np.inf


def test_a_network_without_fp16_stays_as_it_is():
    """FP32 and INT8 are measured byte for byte as they are built."""
    assert rounded(convolutional()) == convolutional()
