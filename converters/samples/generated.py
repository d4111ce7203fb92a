"""Samples that a generator makes.

A generator is a callable, `module:name` in the card, of a module on PYTHONPATH or beside the card. It is called with
the card's `count` and gives that many `converters.samples.Sample` objects, the same ones each time, made one by one as
they are asked for:

    def heads(count: int) -> Iterator[Sample]:
        for seed in range(count):
            yield Sample.of(f"seed {seed}", make_head(seed), Truth(positive=frozenset({"hemorrhage"})))
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from converters.samples.checked import CheckedSamples
from converters.samples.sample import Sample
from edge_runtime.domain import Frames, Volume
from edge_runtime.engines.card import Card
from edge_runtime.errors import ConfigurationError, EdgeRuntimeError

Generator = Callable[[int], Iterable[Sample]]


class GeneratedSamples(CheckedSamples):
    """What a generator makes, made again each time it is gone through."""

    def __init__(self, card: Card, generator: str, count: int, card_folder: Path, labelled: bool) -> None:
        super().__init__(card, generator, labelled)
        self._count = count
        self._generate = load_generator(generator, card_folder)

    def __len__(self) -> int:
        return self._count

    def _samples(self) -> Iterator[Sample]:
        try:
            for sample in itertools.islice(self._generate(self._count), self._count):
                if not isinstance(sample, Sample):
                    raise TypeError(f"it gave {type(sample).__name__}, not converters.samples.Sample")
                if not isinstance(sample.image, (Volume, Frames)):
                    raise TypeError(f"it gave a sample whose image is {type(sample.image).__name__}")
                yield sample
                del sample
        except EdgeRuntimeError:
            raise
        except (Exception, SystemExit) as error:
            raise ConfigurationError(f"generator {self.name} failed: {type(error).__name__}: {error}") from error


def load_generator(path: str, card_folder: Path) -> Generator:
    """Import `module:name`.

    Raises:
        ConfigurationError: there is no such module or callable.
    """
    module, _, name = path.partition(":")
    try:
        with _importable(card_folder):
            found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"generator {path}: {error}; the module must be on PYTHONPATH or in {card_folder}"
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"generator {path}: importing it failed: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigurationError(f"generator {path}: {name} is no callable")
    generate: Generator = found
    return generate


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The folder's modules can be imported, after those that are installed."""
    place = str(folder.resolve())
    sys.path.append(place)
    try:
        yield
    finally:
        sys.path.remove(place)
