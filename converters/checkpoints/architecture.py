"""The network that a state dictionary belongs to: the card's callable, imported and called."""

from __future__ import annotations

import difflib
import importlib
import reprlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from converters.checkpoints.base import Source, first_line, quiet, require
from edge_runtime.errors import ConfigurationError

_KEY = "checkpoint.architecture"
_EXTRAS = ("monai",)
"""Packages of networks that are an extra of this one, of the same name."""


def make_network(source: Source) -> Any:
    """Call the card's architecture; returns a torch.nn.Module whose weights are yet to be loaded.

    Its module is looked for in the card's folder, then on PYTHONPATH.

    Raises:
        ConfigurationError: it cannot be imported, raises, or gives no module.
        BackendUnavailable: MONAI is missing.
    """
    torch, architecture = require("torch", "torch"), source.card.checkpoint.architecture
    assert architecture is not None  # the card's check
    with _importable(source.folder, architecture.callable.split(":")[0]), quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what is random and not in the checkpoint is the same in every build
        make = _find(source, architecture.callable)
        try:
            network = make(**architecture.arguments)
        except (Exception, SystemExit) as error:
            given = ", ".join(f"{k}={reprlib.repr(v)}" for k, v in architecture.arguments.items())
            raise _wrong(source, f"{architecture.callable}({given}) failed: {first_line(error)}") from error
    if not isinstance(network, torch.nn.Module):
        raise _wrong(source, f"{architecture.callable} gives {type(network).__name__}, not a torch.nn.Module")
    return network


def _find(source: Source, path: str) -> Any:
    module_name, names = path.split(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        package = module_name.split(".", maxsplit=1)[0]
        if package in _EXTRAS:
            require(package, package)
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _wrong(source, f"importing {module_name} needs {error.name}, which is not installed") from error
        raise _wrong(
            source, f"there is no module {error.name}; put it beside the card in {source.folder}, or on PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:
        raise _wrong(source, f"importing {module_name} failed: {first_line(error)}") from error
    for name in names.split("."):
        near = difflib.get_close_matches(name, dir(found), 1)
        found = getattr(found, name, None)
        if found is None:
            hint = f"; did you mean {near[0]}?" if near else ""
            raise _wrong(source, f"{module_name} has no {names}{hint}")
    if not callable(found):
        raise _wrong(source, f"{path} is no callable")
    return found


def _wrong(source: Source, why: str) -> ConfigurationError:
    return ConfigurationError(f"engine {source.card.name}: {_KEY}: {why}")


@contextmanager
def _importable(folder: Path, module: str) -> Iterator[None]:
    """Let the card's folder be imported from, and forget a module of that name that another folder gave."""
    top = module.split(".", maxsplit=1)[0]
    place = str(folder.resolve())
    own = [folder / f"{top}.py", folder / top / "__init__.py"]
    before = getattr(sys.modules.get(top), "__file__", None)
    if before is not None and any(f.is_file() and f.resolve() != Path(before).resolve() for f in own):
        for name in [n for n in sys.modules if n == top or n.startswith(f"{top}.")]:
            del sys.modules[name]
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(place)
