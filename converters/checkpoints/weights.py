"""Weights: found in what a file holds, fitted to a network, made float32, and free of NaN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.checkpoints.base import Source
from edge_runtime.domain import Array
from edge_runtime.errors import ConfigurationError

State = dict[str, Any]  # name -> tensor
_KNOWN_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "ema", "model_ema", "state_dict_ema")
_COMPILED, _COUNTER = "_orig_mod.", "num_batches_tracked"
_DEPTH = 3


@dataclass(frozen=True, eq=False)
class _Fit:
    """One candidate against a network: its weights under the network's names, and what is wrong."""

    entry: str
    prefix: str
    weights: State
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def faults(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.shapes)


def fit(source: Source, content: Any, network: Any, is_tensor: Callable[[Any], bool]) -> tuple[State, list[str]]:
    """The weights for a network out of what a checkpoint holds, and notes of what was chosen.

    Raises:
        ConfigurationError: the checkpoint has no entry of the card's name.
        EngineRejected: it holds no weights, or none that fit: names the first keys and the first shape.
    """
    candidates = dict(_candidates(content, is_tensor, ""))
    wanted = source.card.checkpoint.entry
    if wanted is not None:
        if wanted not in candidates:
            has = ", ".join(filter(None, candidates)) or "none"
            raise ConfigurationError(
                f"engine {source.card.name}: checkpoint.entry: the file has no weights under {wanted!r}; it has: {has}"
            )
        candidates = {wanted: candidates[wanted]}
    if not candidates:
        raise source.rejected(f"holds no weights: it is {_describe(content)}")
    expected = {k: tuple(v.shape) for k, v in network.state_dict().items() if hasattr(v, "shape")}
    fits = sorted((_compare(entry, state, expected) for entry, state in candidates.items()), key=_rank)
    best = fits[0]
    if best.faults:
        raise source.rejected(_misfit(best, type(network).__name__))
    return best.weights, _notes(best, [f.entry for f in fits if not f.faults])


def _candidates(content: Any, is_tensor: Callable[[Any], bool], path: str) -> Iterator[tuple[str, State]]:
    """Every mapping in the content that holds tensors by name, with its dotted path."""
    if not isinstance(content, Mapping) or path.count(".") >= _DEPTH:
        return
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and is_tensor(v)}
    if tensors:
        yield path, tensors
    for key, value in content.items():
        if isinstance(key, str):
            yield from _candidates(value, is_tensor, f"{path}.{key}" if path else key)


def _rank(one: _Fit) -> tuple[int, int]:
    known = _KNOWN_ENTRIES.index(one.entry) if one.entry in _KNOWN_ENTRIES else len(_KNOWN_ENTRIES)
    return one.faults, known


def _compare(entry: str, state: State, expected: Mapping[str, tuple[int, ...]]) -> _Fit:
    plain = {key.replace(_COMPILED, ""): value for key, value in state.items()}
    prefix = _prefix(plain, expected)
    weights = {key[len(prefix) :]: value for key, value in plain.items() if key.startswith(prefix)}
    shapes = [
        f"{key} is {tuple(weights[key].shape)} in the checkpoint and {shape} in the network"
        for key, shape in expected.items()
        if key in weights and tuple(weights[key].shape) != shape
    ]
    return _Fit(
        entry,
        prefix,
        weights,
        missing=tuple(k for k in expected if k not in weights and not k.endswith(_COUNTER)),
        unexpected=tuple(k for k in weights if k not in expected),
        shapes=tuple(shapes),
        left_out=tuple(k for k in plain if not k.startswith(prefix)),
    )


def _prefix(state: State, expected: Mapping[str, tuple[int, ...]]) -> str:
    """What stands before the network's names in the checkpoint's, such as `module.`; nothing where that fits best."""
    if not expected:
        return ""
    probe = max(expected, key=len)
    found = {""} | {k[: -len(probe)] for k in state if k.endswith(f".{probe}")}
    return max(sorted(found, key=len), key=lambda p: sum(f"{p}{k}" in state for k in expected))


def _misfit(fit: _Fit, network: str) -> str:
    where = f" (entry {fit.entry!r})" if fit.entry else ""
    parts = [f"does not fit the architecture {network}{where}"]
    for what, keys in (("missing in the checkpoint", fit.missing), ("unexpected in the checkpoint", fit.unexpected)):
        if keys:
            more = ", ..." if len(keys) > 3 else ""
            parts.append(f"{len(keys)} {what}: {', '.join(keys[:3])}{more}")
    parts += fit.shapes[:1]
    return "; ".join(parts) + ". Correct checkpoint.architecture in the card"


def _notes(fit: _Fit, fitting: list[str]) -> list[str]:
    notes = []
    if len(fitting) > 1:
        others = ", ".join(repr(e) for e in fitting if e != fit.entry)
        notes.append(f"took the weights of entry {fit.entry!r}; {others} fits too, checkpoint.entry chooses")
    if fit.prefix:
        notes.append(f"stripped the prefix {fit.prefix!r} from the names of the weights")
    if fit.left_out:
        notes.append(f"left out {len(fit.left_out)} tensors that are not the network's, such as {fit.left_out[0]}")
    return notes


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        keys = ", ".join(str(k) for k in list(content)[:5])
        return f"a mapping with {keys}" if keys else "an empty mapping"
    return f"of type {type(content).__name__}"


def fault(values: Array) -> str | None:
    """What is wrong with a tensor's values, or None.

    Infinite values are right in a mask alone, where every other value is 0 (attention adds such masks).
    """
    finite = np.isfinite(values)
    if finite.all():
        return None
    if np.isnan(values).any():
        return f"{int(np.isnan(values).sum())} NaN"
    return f"{int((~finite).sum())} infinite values" if values[finite].any() else None


def check_module(source: Source, network: Any) -> None:
    """Look at every floating-point tensor of a PyTorch module.

    Raises:
        EngineRejected: one holds NaN or infinite values; names it.
    """
    for name, tensor in network.state_dict().items():
        if hasattr(tensor, "is_floating_point") and tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            check(source, name, tensor.detach().double().numpy())


def check(source: Source, name: str, values: Array) -> None:
    """Look at one tensor.

    Raises:
        EngineRejected: it holds NaN or infinite values.
    """
    what = fault(values)
    if what is not None:
        raise source.rejected(f"has {what} in tensor {name} of {values.size} values: its training diverged")


def to_float32(network: Any) -> list[str]:
    """Make a module's floating-point tensors float32, in place; says what was not."""
    kinds: dict[str, int] = {}
    for tensor in network.state_dict().values():
        if hasattr(tensor, "is_floating_point") and tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            kinds[kind] = kinds.get(kind, 0) + 1
    network.float()
    return [f"converted {count} tensors from {kind} to float32" for kind, count in kinds.items() if kind != "float32"]
