"""Ultralytics' `.pt` files: a pickled network, whose classes are those of the package `ultralytics`."""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
from collections.abc import Iterator
from typing import Any

from converters.checkpoints.base import Loaded, Source, first_line, quiet, require
from converters.checkpoints.kinds import kind_of
from converters.checkpoints.pickles import asked_for
from converters.checkpoints.weights import check_module, to_float32
from edge_runtime.errors import BackendUnavailable, EdgeRuntimeError

_FAMILIES = ("ultralytics.nn.", "torch.nn.modules.")
_SET, _SEALED = "__builtin__.set", "_sealed_layer"
_DATA = {"ultralytics.utils.IterableSimpleNamespace", "ultralytics.cfg.IterableSimpleNamespace"}


def load(source: Source) -> Loaded:
    """The averaged network where the file has one, else the network, with the head in its exporting form.

    Loaded are weights and the layers of ultralytics.nn and torch.nn, nothing else.

    Raises:
        BackendUnavailable: torch or ultralytics is missing; says what to do without it.
        EngineRejected: it is damaged, asks for anything else (names it), or a weight is NaN.
    """
    torch = require("torch", "torch")
    kind, words = kind_of(source.data)
    if kind not in ("pickle", "zip"):
        raise source.rejected(f"is no Ultralytics file: it is {words}")
    try:
        with quiet():
            importlib.import_module("ultralytics")
    except ImportError as error:
        raise BackendUnavailable(
            f"engine {source.card.name}: a checkpoint of format ultralytics needs the package ultralytics ({error}). "
            "Where it is installed run `yolo export model=FILE format=onnx opset=17`, and describe that file as "
            "format: onnx"
        ) from error
    try:
        with quiet(), torch.serialization.safe_globals(list(_layers(source, torch))):
            content = torch.load(io.BytesIO(source.data), map_location="cpu", weights_only=True)
    except EdgeRuntimeError:
        raise
    except pickle.UnpicklingError as error:
        raise source.rejected(f"wants to run code, or is damaged: {error}. Nothing was run") from error
    except Exception as error:
        raise source.rejected(f"is {words}, cut off or damaged: {first_line(error)}") from error
    return _network(source, torch, content)


def _layers(source: Source, torch: Any) -> Iterator[Any]:
    """The classes that the file asks for: layers, and containers of settings."""
    for name in sorted(set(asked_for(source.data))):
        if name == _SET:
            yield set, name
            continue
        module, _, attribute = name.rpartition(".")
        found = None
        if name in _DATA or name.startswith(_FAMILIES):
            with quiet(), contextlib.suppress(ImportError):
                found = getattr(importlib.import_module(module), attribute, None)
        if name not in _DATA and not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
            raise source.rejected(
                f"wants to run code: its pickle asks for {name}, which is no layer of the installed ultralytics. "
                "Nothing was run"
            )
        yield (found if name in _DATA else _sealed(found)), name


def _sealed(layer: Any) -> Any:
    """A layer that can be given its state and not be constructed: constructors there evaluate texts."""

    def refuse(*_: Any, **__: Any) -> None:
        raise pickle.UnpicklingError(f"it constructs {layer.__name__}, where only its state is to be restored")

    return type(layer.__name__, (layer,), {"__init__": refuse, _SEALED: layer})


def _network(source: Source, torch: Any, content: Any) -> Loaded:
    network = content.get("ema") or content.get("model") if isinstance(content, dict) else None
    if not isinstance(network, torch.nn.Module):
        raise source.rejected("is no Ultralytics file: it holds no network under ema or model")
    for layer in network.modules():
        layer.__class__ = getattr(type(layer), _SEALED, type(layer))
        if hasattr(layer, "export") and hasattr(layer, "format"):  # the head: boxes alone, of a fixed shape
            layer.export, layer.format = True, "onnx"
    notes = to_float32(network)
    check_module(source, network)
    return Loaded(module=network.eval(), notes=tuple(notes))
