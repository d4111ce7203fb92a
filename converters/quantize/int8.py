"""From a float32 ONNX network to one in INT8, with QuantizeLinear and DequantizeLinear in the places its library wants.

Two files of one calibration: ONNX Runtime's CPU kernels want asymmetric uint8 activations and int32 bias, TensorRT
refuses these: it wants symmetric int8 and a float bias, and joins Conv, Add and activation only where nothing is
quantized between them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from converters.network_view import NetworkView, load_onnx
from converters.quantize.calibrate import Range
from converters.quantize.placement import Flavour, Placement, place, weighted
from edge_runtime.errors import EngineRejected


def prepare(network: bytes) -> bytes:
    """The network that calibration and quantization both see: constants folded, BatchNorm in its Conv, shapes known.

    Every node has a name of its own. The same network gives the same bytes.

    Raises:
        EngineRejected: this is no network, or ONNX Runtime cannot run it.
    """
    onnx, given = load_onnx(), NetworkView(network).model
    _name_nodes(given)
    model = onnx.load_from_string(_optimized(given.SerializeToString()))
    used = {node.domain for node in model.graph.node} | {""}
    for entry in [entry for entry in model.opset_import if entry.domain not in used]:
        model.opset_import.remove(entry)
    _leaky_instead_of_prelu(model)
    _name_nodes(model)
    return bytes(onnx.shape_inference.infer_shapes(model, data_prop=True).SerializeToString(deterministic=True))


def quantizable(network: bytes, flavour: Flavour = "tensorrt") -> tuple[str, ...]:
    """Names of the nodes of a prepared network whose weights can be INT8, in the order of the graph."""
    return weighted(NetworkView(network), flavour)


def quantize(
    network: bytes, flavour: Flavour, ranges: Mapping[str, Range], keep_fp32: frozenset[str], reduce_range: bool
) -> bytes:
    """The prepared network in INT8. The nodes named in `keep_fp32` stay in FP32.

    `reduce_range`: weights of 7 bits, for CPUs without VNNI, whose sums of products of 8 bits saturate at 16.

    Raises:
        EngineRejected: a tensor has no range, so that the network is not the one that was calibrated.
    """
    view = NetworkView(network)
    placement = place(view, flavour, keep_fp32)
    missing = sorted(placement.tensors - ranges.keys())
    if missing:
        raise EngineRejected(
            f"tensor {missing[0]} has no range: the network was changed after calibration; calibrate it again"
        )
    quantized = _quantized(view.model, flavour, placement, ranges, reduce_range)
    if flavour == "tensorrt":
        _read_unquantized(quantized, keep_fp32)
    return bytes(quantized.SerializeToString(deterministic=True))


def _optimized(network: bytes) -> bytes:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(file)
        try:
            onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EngineRejected(f"ONNX Runtime cannot run the network: {error}") from error
        return file.read_bytes()


def _leaky_instead_of_prelu(model: Any) -> None:
    """PRelu with one slope is LeakyRelu, for which there are INT8 kernels and fusions."""
    from onnx import helper, numpy_helper

    constants = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "PRelu" or node.input[1] not in constants:
            continue
        slopes = np.unique(numpy_helper.to_array(constants[node.input[1]]))
        if slopes.size == 1:
            node.op_type = "LeakyRelu"
            node.attribute.append(helper.make_attribute("alpha", float(slopes[0])))
            del node.input[1]
    used = {name for node in model.graph.node for name in node.input}
    for name in constants.keys() - used:
        model.graph.initializer.remove(constants[name])


def _name_nodes(model: Any) -> None:
    taken: set[str] = set()
    for node in model.graph.node:
        name = node.name or f"{node.op_type}:{node.output[0]}"
        while name in taken:
            name = f"{name}:{node.output[0]}"
        node.name = name
        taken.add(name)


def _read_unquantized(model: Any, keep_fp32: frozenset[str]) -> None:
    """Nodes in FP32 read what others read through QuantizeLinear and DequantizeLinear as it was before these."""
    source = {node.output[0]: node.input[0] for node in model.graph.node}
    pairs = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        if node.name in keep_fp32:
            node.input[:] = [source[source[name]] if name in pairs else name for name in node.input]


def _quantized(
    model: Any, flavour: Flavour, placement: Placement, ranges: Mapping[str, Range], reduce_range: bool
) -> Any:
    """By ONNX Runtime's quantizer, which marks a tensor only where the placement has it."""
    from onnxruntime.quantization import QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import TensorData
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    add_infer_metadata(model)  # shapes are known: ONNX Runtime need not infer them again
    on_tensorrt = flavour == "tensorrt"
    bounds = {n: TensorData(lowest=np.float32(r.low), highest=np.float32(r.high)) for n, r in ranges.items()}
    if not placement.nodes:
        return model
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if on_tensorrt else QuantType.QUInt8,
        tensors_range=bounds,
        nodes_to_quantize=list(placement.nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in model.graph.node}),
        extra_options={
            "ActivationSymmetric": on_tensorrt,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": on_tensorrt,
            "QuantizeBias": not on_tensorrt,
        },
    )
    _mark_only(quantizer, placement.tensors)
    return quantizer.quantize_model()


def _mark_only(quantizer: Any, tensors: frozenset[str]) -> None:
    """Mark these tensors, and let ONNX Runtime's rules for single operators mark none but these."""
    mark, share = quantizer.quantize_activation_tensor, quantizer.quantize_output_same_as_input
    quantizer.quantize_activation_tensor = lambda name: mark(name) if name in tensors else None
    quantizer.quantize_output_same_as_input = lambda name, *source: share(name, *source) if name in tensors else None
    for name in sorted(tensors):
        mark(name)
