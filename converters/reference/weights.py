"""From a trained network to the files of its engine: weights, ONNX, and the hash in the card."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from torch import nn

from converters.export import trace_to_onnx
from converters.reference.networks import Classifier, Detector, Segmenter
from converters.reference.samples import CLASSIFIER, DETECTOR, ENGINES, SEGMENTER, card_of
from edge_runtime.engines.card import CARD_FILE

NETWORKS: dict[str, type[nn.Module]] = {CLASSIFIER: Classifier, DETECTOR: Detector, SEGMENTER: Segmenter}
CHECKPOINT_FILE, ONNX_FILE = "weights/checkpoint.pt", "weights/model.onnx"


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


def replace_in_card(card: Path, pattern: str, text: str) -> None:
    """Replace the one place in a card that the pattern finds.

    Raises:
        ValueError: it is not there exactly once.
    """
    before = card.read_text(encoding="utf-8")
    after, count = re.subn(pattern, lambda _: text, before)
    if count != 1:
        raise ValueError(f"{card}: expected {pattern!r} once, found it {count} times")
    card.write_text(after, encoding="utf-8")
