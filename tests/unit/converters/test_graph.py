"""Rewritten graphs compute what the original ones do."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.graph import rewrite_for_cpu


def model(nodes, shape, out_shape=None, constants=None, opset=17):
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", out_shape or shape))
    ]
    initializers = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", [values[0]], [values[1]], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(document, x):
    session = onnxruntime.InferenceSession(document.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def kinds(document):
    return {node.op_type for node in document.graph.node}


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
@pytest.mark.parametrize("axis", [1, -4])
def test_a_softmax_over_two_channels_becomes_sigmoid_with_the_same_result(opset, axis):
    softmax = helper.make_node("Softmax", ["x"], ["y"], axis=axis)
    document = model([softmax], (1, 2, 3, 4, 5), opset=opset)
    x = np.random.default_rng(0).normal(0, 30, (1, 2, 3, 4, 5)).astype(np.float32)
    before = run(document, x)
    assert rewrite_for_cpu(document) == ("1 x two-class softmax as sigmoid",)
    onnx.checker.check_model(document, full_check=True)
    assert "Softmax" not in kinds(document)
    assert run(document, x) == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((1, 3, 4, 4), 1), ((1, 4, 4, 2), 3), ((1, 4, 4, 2), -1), ((1, 2), 1)])
def test_any_other_softmax_stays(shape, axis):
    document = model([helper.make_node("Softmax", ["x"], ["y"], axis=axis)], shape)
    assert rewrite_for_cpu(document) == () and kinds(document) == {"Softmax"}


def test_an_old_operator_set_stays_as_it_is():
    document = model([helper.make_node("Softmax", ["x"], ["y"], axis=1)], (1, 2, 4, 4), opset=11)
    assert rewrite_for_cpu(document) == ()


def instance_norm(scale, offset, shape, opset=17):
    node = helper.make_node("InstanceNormalization", ["x", "scale", "offset"], ["y"], epsilon=1e-3)
    constants = {"scale": np.array(scale, np.float32), "offset": np.array(offset, np.float32)}
    return model([node], shape, constants=constants, opset=opset)


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize(("scale", "offset"), [([1, 1], [0, 0]), ([2, 3], [1, -1])])
@pytest.mark.parametrize("shape", [(1, 2, 200, 200), (2, 2, 40, 30, 30)])
def test_instance_normalization_over_many_elements_is_closer_to_the_truth(opset, scale, offset, shape):
    document = instance_norm(scale, offset, shape, opset)
    x = np.random.default_rng(0).normal(1000, 1, shape).astype(np.float32)
    wide = (1, 2) + (1,) * (len(shape) - 2)
    axes = tuple(range(2, len(shape)))
    centred = x.astype(np.float64) - x.mean(axis=axes, keepdims=True, dtype=np.float64)
    exact = centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + 1e-3)
    exact = exact * np.reshape(scale, wide) + np.reshape(offset, wide)
    assert rewrite_for_cpu(document) == ("1 x instance normalization with means taken axis by axis",)
    onnx.checker.check_model(document, full_check=True)
    assert "InstanceNormalization" not in kinds(document)
    assert not {"scale", "offset"} & {i.name for i in document.graph.initializer}
    assert np.abs(run(document, x) - exact).max() < 1e-3


def test_a_short_instance_normalization_stays():
    assert rewrite_for_cpu(instance_norm([1, 1], [0, 0], (1, 2, 8, 8))) == ()
