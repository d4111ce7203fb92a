"""What both kinds of sets share: every sample is checked when it is reached, and its identity remembered."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from converters.samples.sample import Sample, check_sample
from edge_runtime.engines.card import Card
from edge_runtime.errors import ConfigurationError, InferenceFailed
from edge_runtime.preprocess import compile_expectation


class CheckedSamples(ABC):
    """A set of samples for a card. Identities are known once the set was gone through; else asking goes through it."""

    def __init__(self, card: Card, name: str, labelled: bool) -> None:
        self.name = name
        self._card = card
        self._labelled = labelled
        self._names: dict[str, str] | None = None
        self._places: set[str] = set()  # what is looked at: an image, or a region of it

    @abstractmethod
    def _samples(self) -> Iterator[Sample]:
        """The samples as they are."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are, at most."""

    def __iter__(self) -> Iterator[Sample]:
        """Each sample, loaded when it is reached.

        Raises:
            ConfigurationError: a sample cannot be read, is not what the card expects, or its truth does not fit.
        """
        expect = compile_expectation(self._card)
        names: dict[str, str] = {}
        places: set[str] = set()
        for sample in self._samples():
            check_sample(self._card, sample, self._labelled)
            if sample.sha256 not in names:  # the same image may be several samples
                try:
                    expect(sample.image)
                except InferenceFailed as error:
                    raise ConfigurationError(f"{sample.name}: {error}") from error
                names[sample.sha256] = sample.name
            places.add(self._place(sample))
            yield sample
            del sample  # its image is freed before the next is read
        if not names:
            raise ConfigurationError(f"{self.name}: there are no samples")
        self._names, self._places = names, places

    def _place(self, sample: Sample) -> str:
        """What makes the sample another one: its image, where it is looked at, and what is true where that counts."""
        region = "" if sample.region is None else f" {sample.region}"
        truth = f" {sample.truth.identity()}" if self._labelled and sample.truth is not None else ""
        return f"{sample.sha256}{region}{truth}"

    def by_identity(self) -> Mapping[str, str]:
        """The name of a sample by its SHA-256."""
        if self._names is None:
            for _ in self:
                pass
        assert self._names is not None
        return self._names

    def identities(self) -> frozenset[str]:
        """The SHA-256 of every image."""
        return frozenset(self.by_identity())

    def sha256(self) -> str:
        """One SHA-256 (hex) of the images, of the regions that are looked at, and of what is true of a labelled set."""
        self.by_identity()
        return hashlib.sha256("\n".join(sorted(self._places)).encode()).hexdigest()
