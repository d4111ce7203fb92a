"""From a trained network to the files of its engine: weights, ONNX, and the hash in the card."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from converters.export import trace_to_onnx
from converters.reference.endoscopy.training import NETWORKS
from converters.reference.samples import ENGINES, card_of
from converters.reference.weights import CHECKPOINT_FILE, ONNX_FILE, replace_in_card
from edge_runtime.engines.card import CARD_FILE


def load(name: str) -> nn.Module:
    """The network of an engine with its committed weights, in evaluation mode."""
    network = NETWORKS[name]()
    state = torch.load(ENGINES / name / CHECKPOINT_FILE, map_location="cpu", weights_only=True)
    network.load_state_dict(state)
    return network.eval()


def save(name: str, network: nn.Module) -> None:
    """Write weights and ONNX of an engine, and the hash of the ONNX into its card."""
    folder = ENGINES / name
    (folder / "weights").mkdir(exist_ok=True)
    plain = NETWORKS[name]()  # without the memory format of training
    plain.load_state_dict(network.state_dict())
    torch.save(plain.state_dict(), folder / CHECKPOINT_FILE)
    data = trace_to_onnx(card_of(name), plain.eval())
    (folder / ONNX_FILE).write_bytes(data)
    replace_in_card(folder / CARD_FILE, r"sha256: \S+", f"sha256: {hashlib.sha256(data).hexdigest()}")
