"""One stage: an engine with its preparation and its decoding, and what its answers say as findings and masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from edge_runtime.domain import Answer, Array, EngineIdentity, Finding, Image, Mask
from edge_runtime.engines.card import Card, Expect, Label
from edge_runtime.engines.golden import Golden
from edge_runtime.engines.views import Fill, LabelAnswer, Place, Placement, Region, Tile
from edge_runtime.errors import InferenceFailed
from edge_runtime.stages.conclude import Speaker, conclude
from edge_runtime.stages.on_device import Answered, OnDevice, Prepare, PreparedOnDevice

Trace = Callable[[str, Array], None]


class Runner(Protocol):
    """Runs a network: input to output, of the card's shapes."""

    @property
    def engine_seconds(self) -> float:
        """Time of the last run, the network alone."""

    @property
    def waited_seconds(self) -> float:
        """How long the last run waited for its turn on the device."""

    def run(self, prepared: Any) -> Array:
        """One run of an input, an array or what fills the buffer on the device."""

    def run_each(self, inputs: Iterable[Array | Fill]) -> Iterator[Array]:
        """One run after the other; an output's memory is used again by the next run but one."""

    def close(self) -> None:
        """Free it; a second call does nothing."""


class OneByOne(ABC):
    """A runner with nothing to gain from knowing the next input."""

    @abstractmethod
    def run(self, prepared: Any) -> Array:
        """One run."""

    def run_each(self, inputs: Iterable[Any]) -> Iterator[Array]:
        """One run after the other."""
        return map(self.run, inputs)


@dataclass(frozen=True)
class Condition:
    """`when`: the answer that an earlier stage must have given for a label."""

    stage: str
    label: str
    answer: Answer

    @staticmethod
    def parse(text: str) -> Condition:
        """Read STAGE.LABEL.positive or STAGE.LABEL.negative."""
        stage, label, answer = text.rsplit(".", 2)
        return Condition(stage, label, Answer(answer))


@dataclass(frozen=True, eq=False)
class Stage:
    """A stage as configured, with its engine loaded. `expected_seconds` is what a run took when it was built.

    `cheaper` are stages of the same name and labels with other engines. `on_device`: pictures need not be prepared
    and read by the host. `prepare_on_device`: volumes need not be prepared by it; the inputs are the same.
    """

    name: str
    card: Card
    identity: EngineIdentity
    runner: Runner
    check: Callable[[Image], None]
    prepare: Prepare
    decode: Callable[[Iterable[tuple[Array, Tile | None]], Placement, float | None], tuple[LabelAnswer, ...]]
    golden: Golden
    when: Condition | None = None
    within: str | None = None
    margin: float = 0.1
    optional: bool = False
    threshold: float | None = None
    expected_seconds: float = 0.0
    cheaper: tuple[Stage, ...] = ()
    on_device: OnDevice | None = None
    prepare_on_device: PreparedOnDevice | None = None

    @property
    def key(self) -> str:
        """The stage with its engine."""
        return f"{self.name}/{self.identity.name} {self.identity.precision}"

    @property
    def variants(self) -> tuple[Stage, ...]:
        """This stage as configured, then what may run in its place where time is short, the cheapest last."""
        return (self, *self.cheaper)

    def threshold_of(self, label: Label) -> float:
        """The threshold that counts: the configured one, else the card's."""
        return label.threshold if self.threshold is None else self.threshold

    def speaker(self, label: Label) -> Speaker:
        """Who answers for a label, at which threshold."""
        return Speaker(self.name, self.card, label, self.threshold_of(label))


@dataclass(frozen=True, eq=False)
class StageResult:
    """What a stage says of one image. `regions` are what a later stage may run within."""

    findings: tuple[Finding, ...]
    masks: tuple[Mask, ...]
    regions: tuple[Region, ...]
    engine_seconds: float
    waited_seconds: float


class Seen:
    """An image under analysis. What several stages ask of it is done once: the same expectation, the same recipe."""

    def __init__(self, image: Image, stages: Sequence[Stage]) -> None:
        self.image = image
        volumes = [stage for stage in stages if stage.within is None and stage.card.input.kind == "volume"]
        recipes = [_recipe(stage) for stage in volumes]  # of many frames all inputs at once would not fit
        self._shared = {recipe for recipe in recipes if recipes.count(recipe) > 1}
        self._places: dict[Hashable, tuple[Place, ...]] = {}
        self._expected: set[Expect] = set()
        self.uploaded = False  # as a picture, to the device

    def check(self, stage: Stage) -> None:
        """Raises InferenceFailed where the image is not what the stage's card expects."""
        expect = stage.card.expect
        if expect is not None and expect not in self._expected:
            stage.check(self.image)
            self._expected.add(expect)

    def prepare(self, stage: Stage, region: Region | None, *, on_device: bool) -> Iterable[Place]:
        """The stage's inputs in a region, or in the whole image."""
        there = stage.prepare_on_device if on_device else None
        prepare = stage.prepare if there is None else there.prepare
        recipe = _recipe(stage)
        if region is not None or recipe not in self._shared:
            return prepare(self.image, region, stage.margin)
        if (recipe, on_device) not in self._places:
            self._places[recipe, on_device] = tuple(prepare(self.image, None, stage.margin))
        return self._places[recipe, on_device]


def _recipe(stage: Stage) -> Hashable:
    return (stage.card.input, stage.card.preprocess)


def run_stage(
    stage: Stage,
    image: Seen,
    regions: Sequence[Region | None],
    first_mask: int,
    trace: Trace | None,
    *,
    on_device: bool = False,
) -> StageResult:
    """Run the stage once in each region (None: the whole image) and put the answers together.

    With `on_device` its inputs are made there.

    Raises:
        InferenceFailed: the image is not what the card expects, does not fit the recipe, the library failed, or the
            output is none.
    """
    image.check(stage)
    runs = _Runs(stage, trace)
    by_region = [
        [runs.decoded(place) for place in image.prepare(stage, region, on_device=on_device)] for region in regions
    ]
    result = conclude_stage(stage, image.image, by_region, first_mask, runs.seconds, runs.waited_seconds)
    if trace is not None:
        for mask in result.masks:
            trace(f"{stage.name}-mask-{mask.number}", mask.voxels)
    return result


def conclude_stage(
    stage: Stage,
    image: Image,
    by_region: Sequence[Sequence[Sequence[LabelAnswer]]],
    first_mask: int,
    engine_seconds: float,
    waited_seconds: float,
) -> StageResult:
    """Put answers together, given by region, place and label. Raises InferenceFailed where they are impossible."""
    findings: list[Finding] = []
    masks: list[Mask] = []
    found: list[Region] = []
    for index, label in enumerate(stage.card.labels):
        answers = [[each[index] for each in places] for places in by_region]
        said = conclude(stage.speaker(label), image, answers, first_mask + len(masks))
        findings.extend(said.findings)
        masks.extend(said.masks)
        found.extend(said.regions)
    return StageResult(tuple(findings), tuple(masks), tuple(found), engine_seconds, waited_seconds)


def conclude_answered(
    stage: Stage, image: Image, answered: Sequence[Answered], first_mask: int, waited_seconds: float
) -> StageResult:
    """What a stage says that ran on the device, once a region. Raises InferenceFailed as `run_stage` does."""
    by_region = []
    for one in answered:
        if isinstance(one.answers, InferenceFailed):
            raise one.answers
        by_region.append([one.answers])
    engine_seconds = sum(one.engine_seconds for one in answered)
    return conclude_stage(stage, image, by_region, first_mask, engine_seconds, waited_seconds)


class _Runs:
    """Runs the engine on a place's inputs, one at a time as they are asked for; counts runs and engine time."""

    def __init__(self, stage: Stage, trace: Trace | None) -> None:
        self.count = 0
        self.seconds = 0.0
        self.waited_seconds = 0.0
        self._stage = stage
        self._trace = trace

    def decoded(self, place: Place) -> tuple[LabelAnswer, ...]:
        """What is said of a place. A failure between two windows gives the engine's turn back at once."""
        with closing(self._of(place)) as outputs:
            return self._stage.decode(outputs, place.placement, self._stage.threshold)

    def _of(self, place: Place) -> Generator[tuple[Array, Tile | None], None, None]:
        """Each output with its window; the memory of an output is used again by the next."""
        runner = self._stage.runner
        outputs = runner.run_each(prepared.given for prepared in place.inputs)
        for prepared, output in zip(place.inputs, outputs, strict=True):
            self.count += 1
            self.seconds += runner.engine_seconds
            self.waited_seconds += runner.waited_seconds
            if self._trace is not None:
                self._trace(f"{self._stage.name}-{self.count}-input", prepared.array)
                self._trace(f"{self._stage.name}-{self.count}-output", output.copy())
            yield output, prepared.tile
