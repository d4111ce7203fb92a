"""Checkpoints: from the bytes of a file to the network in it, one short module a format.

Nothing in a checkpoint is run while it is read: pickles are loaded with `weights_only`, and what asks for more is
refused with the name it asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from converters.checkpoints.base import Loaded, Source
from edge_runtime.engines.card import Card

__all__ = ["LOADERS", "Loaded", "Source", "load_checkpoint"]

LOADERS = {
    "onnx": "converters.checkpoints.onnx_network",
    "torchscript": "converters.checkpoints.torchscript",
    "pt2": "converters.checkpoints.exported_program",
    "state_dict": "converters.checkpoints.state_dict",
    "monai_bundle": "converters.checkpoints.monai_bundle",
    "ultralytics": "converters.checkpoints.ultralytics",
}


def load_checkpoint(card: Card, data: bytes, card_folder: Path) -> Loaded:
    """Load a checkpoint, whose hash has been verified, by the card's format.

    Raises:
        ConfigurationError: the card's architecture or entry is wrong.
        BackendUnavailable: a package is missing.
        EngineRejected: the file is damaged, of another kind, wants to run code, or does not fit the architecture.
    """
    loader = importlib.import_module(LOADERS[card.checkpoint.format])
    loaded: Loaded = loader.load(Source(card, data, card_folder))
    return loaded
