"""Whatever an ONNX file says of its tensors, its weights are in it and are numbers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import models
from support.checkpoints import card_of
from support.tiny_torch import SHAPE

from converters.checkpoints import load_checkpoint
from edge_runtime.errors import EngineRejected

NAN = numpy_helper.from_array(np.full((1, 1), np.nan, np.float32))


def elsewhere(**keys):
    """A tensor in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(1, 1), data_location=TensorProto.EXTERNAL)
    for key, value in keys.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def sparse(values):
    return onnx.SparseTensorProto(values=values, indices=numpy_helper.from_array(np.array([0])), dims=[1, 1])


def in_function(model, tensor):
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    model.functions.append(helper.make_function("own", "F", [], ["y"], [node], [helper.make_opsetid("", 17)]))


def in_sparse_attribute(model, tensor):
    model.graph.node.append(helper.make_node("Constant", [], ["extra"], sparse_value=sparse(tensor)))


PLACES = {
    "initializer": lambda model, tensor: model.graph.initializer.append(tensor),
    "sparse": lambda model, tensor: model.graph.sparse_initializer.append(sparse(tensor)),
    "attribute": in_sparse_attribute,
    "function": in_function,
}


def refused(tmp_path, place, tensor, message):
    model = onnx.load_from_string(models.classifier(SHAPE))
    PLACES[place](model, tensor)
    with pytest.raises(EngineRejected, match=message):
        load_checkpoint(card_of(tmp_path, "onnx"), model.SerializeToString(), tmp_path)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("keys", [{}, {"location": "../../etc/passwd"}, {"location": "weights.bin"}])
def test_a_tensor_in_another_file_is_refused_wherever_it_stands(tmp_path, place, keys):
    refused(tmp_path, place, elsewhere(**keys), "in another file")


@pytest.mark.parametrize("place", PLACES)
def test_a_value_that_is_no_number_is_refused_wherever_it_stands(tmp_path, place):
    refused(tmp_path, place, NAN, "1 NaN in tensor")


@pytest.mark.parametrize("dims", [(1 << 40,), (0,), (2, 2)])
def test_a_tensor_that_holds_something_else_than_it_says_is_refused(tmp_path, dims):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=bytes(4))
    refused(tmp_path, "initializer", tensor, r"is damaged: tensor w holds no \(")
