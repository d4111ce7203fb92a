"""State dictionaries: `.pt` and `.ckpt` of torch.save, and `.safetensors`, told apart by content."""

from __future__ import annotations

from collections import Counter
from typing import Any

from converters.checkpoints.architecture import make_network
from converters.checkpoints.base import Loaded, Source, first_line, require
from converters.checkpoints.kinds import kind_of
from converters.checkpoints.pickles import load_weights
from converters.checkpoints.weights import check_module, fit


def load(source: Source) -> Loaded:
    """The card's architecture with the weights of the file.

    Raises:
        ConfigurationError: architecture or entry of the card is wrong.
        BackendUnavailable: torch or safetensors is missing.
        EngineRejected: the file is damaged, no state dictionary, wants to run code, or does not fit.
    """
    content = read(source, source.data)
    return with_weights(source, make_network(source), content)


def read(source: Source, data: bytes) -> Any:
    """What a file of weights holds."""
    kind, words = kind_of(data)
    if kind == "safetensors":
        library = require("safetensors.torch", "torch")
        try:
            return library.load(data)
        except Exception as error:
            raise source.rejected(f"is {words}, damaged: {first_line(error)}") from error
    if kind == "zip" or kind == "pickle":
        return load_weights(source, data)
    raise source.rejected(f"is no state dictionary: it is {words}")


def with_weights(source: Source, network: Any, content: Any) -> Loaded:
    """A network with the weights that a checkpoint holds, float32 and in evaluation mode."""
    torch = require("torch", "torch")

    def is_weight(value: Any) -> bool:
        return torch.is_tensor(value) and not (value.is_nested or value.is_complex())

    weights, notes = fit(source, content, network, is_weight)
    kinds = Counter(str(t.dtype).removeprefix("torch.") for t in weights.values() if t.is_floating_point())
    try:
        network.float().load_state_dict(weights, strict=False)
    except Exception as error:
        raise source.rejected(f"does not fit the architecture {type(network).__name__}: {first_line(error)}") from error
    check_module(source, network)
    notes += [f"converted {count} tensors from {kind} to float32" for kind, count in kinds.items() if kind != "float32"]
    return Loaded(module=network.eval(), notes=tuple(notes))
