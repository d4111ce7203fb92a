"""What the engines and the plain method say of one phantom, beside what is true: the rows of the evaluation.

The engines run as in the daemon: the card's recipe, its runner, its decoding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

import numpy as np

from converters.measure.metrics import Detected, dice
from converters.reference import baseline
from converters.reference.phantom import Lesion, Phantom
from converters.reference.samples import CLASSIFIER, DETECTOR, ENGINES, MARGIN, SEGMENTER, Split, card_of
from edge_runtime.backends.registry import open_on_cpu
from edge_runtime.domain import Array, Box, Image, Volume
from edge_runtime.engines.runner import EngineRunner
from edge_runtime.engines.views import LabelAnswer, Region
from edge_runtime.postprocess import compile_decoder
from edge_runtime.preprocess import compile_expectation, compile_recipe
from edge_runtime.stages.lesions import largest_diameter_mm, lesions

_FLOOR = 0.02  # of the scores that are kept for the curve of precision and recall
_MOST_REGIONS = 1000


@dataclass(frozen=True)
class Outline:
    """How well one haemorrhage was outlined. `dice` is 0 where nothing was found of it."""

    dice: float
    volume_ml: float
    diameter_mm: float


@dataclass(frozen=True)
class Truth:
    """One haemorrhage of a phantom."""

    kind: str
    volume_ml: float
    diameter_mm: float


@dataclass(frozen=True)
class Case:
    """One phantom. Outlines are those in true boxes, by threshold, one for each haemorrhage; the plain method's too."""

    seed: int
    confounders: tuple[str, ...]
    truth: tuple[Truth, ...]
    probability: float
    found: Detected
    outlines: dict[float, tuple[Outline, ...]] = field(default_factory=dict)
    pipeline_dice: float | None = None  # in the detected boxes, of the whole image; None of a negative
    bright_ml: dict[float, float] = field(default_factory=dict)  # largest bright part by threshold
    bright: dict[float, Detected] = field(default_factory=dict)
    bright_outlines: dict[float, tuple[Outline, ...]] = field(default_factory=dict)
    bright_dice: dict[float, float] = field(default_factory=dict)  # largest bright part against the whole truth
    engine_seconds: float = 0.0  # of all networks, as in the pipeline

    @property
    def positive(self) -> bool:
        """Whether there is a haemorrhage."""
        return bool(self.truth)


@dataclass(frozen=True)
class Settings:
    """Which thresholds to look at: of the segmenter, of the detector, and in HU."""

    outline: tuple[float, ...]
    detection: float
    hounsfield: tuple[float, ...]


class Engine:
    """An engine of the repository: its committed network behind the daemon's own stages."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self.card = card_of(name)
        assert self.card.checkpoint.path is not None
        data = (ENGINES / name / self.card.checkpoint.path).read_bytes()
        backend, self._device = open_on_cpu(threads)
        self._runner = EngineRunner(self.card, backend.load(data, self._device), self._device)
        self._check = compile_expectation(self.card)
        self._prepare = compile_recipe(self.card)
        # The curve of precision and recall is drawn down to scores at which a daemon would give up.
        decode = dataclasses.replace(self.card.decode, maximum_regions=_MOST_REGIONS)
        self._decode = compile_decoder(dataclasses.replace(self.card, decode=decode))
        self.seconds = 0.0

    def answers(self, image: Image, region: Region | None, thresholds: Sequence[float]) -> list[LabelAnswer]:
        """The answer for haemorrhage at each threshold.

        Raises:
            InferenceFailed: the image is not what the card expects.
        """
        if region is None:
            self._check(image)
        (place,) = self._prepare(image, region, MARGIN)
        runs = [(self.run(prepared.array), prepared.tile) for prepared in place.inputs]
        return [self._decode(runs, place.placement, threshold)[0] for threshold in thresholds]

    def run(self, prepared: Array) -> Array:
        """One run of the network; its time is added to `seconds`."""
        output = self._runner.run(prepared).copy()
        self.seconds += self._runner.engine_seconds
        return output

    def close(self) -> None:
        """Free it."""
        self._runner.close()
        self._device.close()


@dataclass(frozen=True, eq=False)
class Engines:
    """The three engines."""

    classifier: Engine
    detector: Engine
    segmenter: Engine

    @staticmethod
    def load(threads: int = 1) -> Engines:
        """All of the repository."""
        return Engines(Engine(CLASSIFIER, threads), Engine(DETECTOR, threads), Engine(SEGMENTER, threads))

    def all(self) -> tuple[Engine, Engine, Engine]:
        """In the order of the pipeline."""
        return self.classifier, self.detector, self.segmenter

    def close(self) -> None:
        """Free them."""
        for engine in self.all():
            engine.close()


def measure(engines: Engines, phantom: Phantom, settings: Settings) -> Case:
    """Run everything on one phantom."""
    for engine in engines.all():
        engine.seconds = 0.0
    image, truth = phantom.image, phantom.truth
    probability = engines.classifier.answers(image, None, (0.5,))[0].probability
    every, above = engines.detector.answers(image, None, (_FLOOR, settings.detection))
    whole = _union(engines.segmenter, image, above.regions, settings.outline[:1])[0]
    seconds = sum(engine.seconds for engine in engines.all())
    masks = _union(engines.segmenter, image, [_region(lesion.box) for lesion in phantom.lesions], settings.outline)
    case = Case(
        seed=phantom.seed,
        confounders=tuple(kind.value for kind in phantom.confounders),
        truth=tuple(Truth(k.kind.value, k.volume_ml, k.diameter_mm) for k in phantom.lesions),
        probability=float(probability or 0.0),
        found=Detected(tuple((*r.start, *r.stop) for r in every.regions), every.scores, _boxes(phantom)),
        outlines={level: _outlines(mask, phantom) for level, mask in zip(settings.outline, masks, strict=True)},
        pipeline_dice=dice(whole, truth) if phantom.lesions else None,
        engine_seconds=seconds,
    )
    _add_baseline(case, phantom, settings.hounsfield)
    return case


def _add_baseline(case: Case, phantom: Phantom, thresholds: Sequence[float]) -> None:
    inside, values = baseline.inside_skull(phantom.image), baseline.smoothed(phantom.image)
    truth = phantom.truth
    boxes = np.zeros_like(truth)
    for lesion in phantom.lesions:
        boxes[lesion.box.slices] = True
    for level in thresholds:
        parts = baseline.bright_parts(values, inside, level, phantom.image)
        case.bright_ml[level] = max(parts.volumes_ml, default=0.0)
        case.bright[level] = Detected(parts.boxes, parts.volumes_ml, _boxes(phantom))
        if phantom.lesions:
            case.bright_dice[level] = dice(parts.largest(), truth)
            case.bright_outlines[level] = _outlines((parts.labels > 0) & boxes, phantom)


def _union(segmenter: Engine, image: Volume, regions: Iterable[Region], thresholds: Sequence[float]) -> list[Array]:
    """The masks of all regions together, at each threshold."""
    joined = [np.zeros(image.voxels.shape, dtype=np.bool_) for _ in thresholds]
    for region in regions:
        for mask, answer in zip(joined, segmenter.answers(image, region, thresholds), strict=True):
            assert answer.voxels is not None
            np.logical_or(mask, answer.voxels, out=mask)
    return joined


def _outlines(mask: Array, phantom: Phantom) -> tuple[Outline, ...]:
    """For each haemorrhage the connected parts of the mask that touch it."""
    parts = lesions(mask, phantom.image.geometry)
    grids = [part.on_grid(phantom.image.geometry.shape) for part in parts]
    return tuple(_outline([grid for grid in grids if (grid & lesion.mask).any()], lesion, phantom)
                 for lesion in phantom.lesions)  # fmt: skip


def _outline(parts: list[Array], lesion: Lesion, phantom: Phantom) -> Outline:
    if not parts:
        return Outline(0.0, 0.0, 0.0)
    geometry = phantom.image.geometry
    joined = np.logical_or.reduce(parts)
    longest = max(largest_diameter_mm(part, geometry.spacing_mm) for part in parts)
    return Outline(dice(joined, lesion.mask), int(np.count_nonzero(joined)) * geometry.voxel_ml, longest)


def _boxes(phantom: Phantom) -> tuple[tuple[float, ...], ...]:
    return tuple((*map(float, lesion.box.start), *map(float, lesion.box.stop)) for lesion in phantom.lesions)


def _region(box: Box) -> Region:
    return Region(tuple(map(float, box.start)), tuple(map(float, box.stop)))


_loaded: list[Engines] = []  # of a worker process


def measure_all(split: Split, settings: Settings, processes: int, count: int | None = None) -> list[Case]:
    """The cases of a split, or its first `count`, in the order of the seeds."""
    seeds = list(split.seeds())[:count]
    cases = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_load) as pool:
        for case in pool.map(partial(_measure, split, settings), seeds, chunksize=2):
            cases.append(case)
            if len(cases) % 50 == 0:
                print(f"{split.name}: {len(cases)} of {len(seeds)} phantoms", flush=True)
    return cases


def _load() -> None:
    _loaded.append(Engines.load())


def _measure(split: Split, settings: Settings, seed: int) -> Case:
    return measure(_loaded[0], split.phantom(seed), settings)
