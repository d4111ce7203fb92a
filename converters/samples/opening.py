"""Open sets of samples, keep calibration and hold-out apart, and prepare inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from converters.samples.folder import FolderSamples
from converters.samples.generated import GeneratedSamples
from converters.samples.sample import Sample
from edge_runtime.domain import Array
from edge_runtime.engines import card as cards
from edge_runtime.engines.card import Card
from edge_runtime.engines.views import Place
from edge_runtime.errors import ConfigurationError, InferenceFailed
from edge_runtime.preprocess import Prepare, compile_recipe


class SampleSet(Protocol):
    """Samples that can be gone through again and again; each image is loaded when it is reached, and freed after."""

    name: str

    def __len__(self) -> int:
        """How many there are, at most."""

    def __iter__(self) -> Iterator[Sample]:
        """Each sample."""

    def by_identity(self) -> Mapping[str, str]:
        """The name of a sample by the SHA-256 of its image. Goes through the set where that was not done yet."""

    def identities(self) -> frozenset[str]:
        """The SHA-256 of every image."""

    def sha256(self) -> str:
        """One SHA-256 (hex) for the whole set."""


def open_samples(card: Card, source: cards.Samples, card_folder: Path, labelled: bool) -> SampleSet:
    """The set that a card's `calibration` or `holdout` names; a relative path counts from the card's folder.

    `labelled`: every sample must say what the card's task is measured by.

    Raises:
        ConfigurationError: there is no such folder or generator, or its truth.yaml does not fit.
    """
    if source.path is not None:
        return FolderSamples(card, card_folder / source.path, source.count, labelled)
    assert source.generator is not None
    if source.count is None:
        raise ConfigurationError(f"card {card.name}: generator {source.generator} needs a count")
    return GeneratedSamples(card, source.generator, source.count, card_folder, labelled)


def refuse_leakage(calibration: SampleSet, holdout: SampleSet) -> None:
    """Refuse sets that share an image: what calibrates must not measure. Images are compared by their pixels.

    It costs nothing once both sets were gone through.

    Raises:
        ConfigurationError: naming the first image that is in both.
    """
    first, second = calibration.by_identity(), holdout.by_identity()
    shared = [identity for identity in first if identity in second]
    if shared:
        raise ConfigurationError(
            f"{first[shared[0]]} of the calibration set is the same image as {second[shared[0]]} of the hold-out set "
            f"({len(shared)} shared in all): what calibrates must not measure; take it out of one of the two"
        )


def places(prepare: Prepare, sample: Sample) -> Iterator[Place]:
    """The sample as the network sees it.

    Raises:
        ConfigurationError: the recipe does not take the image; names the sample.
    """
    try:
        yield from prepare(sample.image, sample.region, 0.0)
    except InferenceFailed as error:
        raise ConfigurationError(f"{sample.name}: {error}") from error


def inputs(card: Card, samples: Iterable[Sample]) -> Iterator[Array]:
    """Each network input, float32 of the card's input shape; windows and frames one by one.

    Raises:
        ConfigurationError: a sample cannot be read, or the recipe does not take it; names the sample.
    """
    prepare = compile_recipe(card)
    for sample in samples:
        for place in places(prepare, sample):
            for prepared in place.inputs:
                yield prepared.array
        del sample
