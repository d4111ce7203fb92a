"""What the engines and the plain methods say of one frame, beside what is true: the rows of the evaluation.

The engines run as in the daemon: the card's recipe, its runner, its decoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

import numpy as np

from converters.measure.metrics import Detected, dice
from converters.reference.cases import Engine
from converters.reference.endoscopy import baseline
from converters.reference.endoscopy.frames import Frame
from converters.reference.endoscopy.samples import (
    DETECTOR,
    INFORMATIVE,
    SEGMENTER,
    SMALL_DETECTOR,
    Split,
    as_image,
    frames_of,
    kinds_of,
    region_of,
)
from edge_runtime.domain import Array, Frames
from edge_runtime.engines.views import Region

_FLOOR = 0.02  # of the scores that are kept for the curve of precision and recall


@dataclass(frozen=True)
class Settings:
    """Which thresholds to look at: of the segmenter, of the detector in the pipeline, and of the plain methods."""

    outline: tuple[float, ...]
    detection: float
    box_levels: tuple[float, ...]
    colour_levels: tuple[float, ...]


@dataclass(frozen=True)
class Case:
    """One frame. What concerns polyps is there of informative frames only: others hold none that count.

    Dice: for each polyp, in its true box, by threshold. `pipeline_dice`: of the whole frame, in the detected boxes.
    """

    patient: int
    kind: str
    informative: bool
    probability: float
    sharpness: float
    redness: float
    polyp_shares: tuple[float, ...] = ()  # of the picture
    found: dict[str, Detected] = field(default_factory=dict)  # by detector
    outlines: dict[float, tuple[float, ...]] = field(default_factory=dict)
    pipeline_dice: float | None = None
    blobs: dict[float, Detected] = field(default_factory=dict)
    grown: dict[float, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Engines:
    """The engines of the pipeline, and the cheaper detector."""

    informative: Engine
    detectors: dict[str, Engine]
    segmenter: Engine

    @staticmethod
    def load(threads: int = 1) -> Engines:
        """All of the repository."""
        detectors = {name: Engine(name, threads) for name in (DETECTOR, SMALL_DETECTOR)}
        return Engines(Engine(INFORMATIVE, threads), detectors, Engine(SEGMENTER, threads))


def measure(engines: Engines, patient: int, kind: str, frame: Frame, settings: Settings) -> Case:
    """Run everything on one frame."""
    image = as_image(frame.pixels)
    case = Case(
        patient=patient,
        kind=kind,
        informative=frame.informative,
        probability=float(engines.informative.answers(image, None, (0.5,))[0].probability or 0.0),
        sharpness=baseline.sharpness(frame.pixels),
        redness=baseline.redness(frame.pixels),
    )
    return _with_polyps(case, engines, image, frame, settings) if frame.informative else case


def _with_polyps(case: Case, engines: Engines, image: Frames, frame: Frame, settings: Settings) -> Case:
    boxes = tuple(polyp.box for polyp in frame.polyps)
    truth = tuple(baseline.corners(box) for box in boxes)
    found: dict[str, Detected] = {}
    regions: tuple[Region, ...] = ()
    for name, detector in engines.detectors.items():
        every, above = detector.answers(image, None, (_FLOOR, settings.detection))
        found[name] = Detected(tuple((*r.start, *r.stop) for r in every.regions), every.scores, truth)
        regions = above.regions if name == DETECTOR else regions
    outlines = [_outlined(engines.segmenter, image, region_of(box), settings.outline) for box in boxes]
    whole = _joined(frame, (_outlined(engines.segmenter, image, r, settings.outline[:1])[0] for r in regions))
    differing = baseline.contrast(frame.pixels)
    return Case(
        case.patient, case.kind, True, case.probability, case.sharpness, case.redness,
        polyp_shares=tuple(float(polyp.mask.mean()) for polyp in frame.polyps),
        found=found,
        outlines={level: tuple(dice(masks[k], polyp.mask) for masks, polyp in zip(outlines, frame.polyps, strict=True))
                  for k, level in enumerate(settings.outline)},
        pipeline_dice=dice(whole, frame.truth) if boxes else None,
        blobs={level: baseline.blobs(differing, level, boxes) for level in settings.box_levels},
        grown={level: tuple(dice(baseline.grow(frame.pixels, p.box, level), p.mask) for p in frame.polyps)
               for level in settings.colour_levels},
    )  # fmt: skip


def _outlined(segmenter: Engine, image: Frames, region: Region, thresholds: Sequence[float]) -> list[Array]:
    masks = [answer.voxels for answer in segmenter.answers(image, region, thresholds)]
    return [mask for mask in masks if mask is not None]


def _joined(frame: Frame, masks: Iterable[Array]) -> Array:
    joined = np.zeros(frame.pixels.shape[:2], dtype=np.bool_)
    for mask in masks:
        joined |= mask
    return joined


_loaded: list[Engines] = []  # of a worker process


def measure_all(split: Split, settings: Settings, processes: int, patients: int | None = None) -> list[Case]:
    """The cases of a split, or of its first patients, in the order of the seeds."""
    seeds = list(split.seeds())[:patients]
    cases: list[Case] = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_load) as pool:
        for done, of_patient in enumerate(pool.map(partial(_measure, settings), seeds, chunksize=2), start=1):
            cases += of_patient
            if done % 50 == 0:
                print(f"{split.name}: {done} of {len(seeds)} patients", flush=True)
    return cases


def _load() -> None:
    _loaded.append(Engines.load())


def _measure(settings: Settings, seed: int) -> list[Case]:
    pairs = zip(kinds_of(), frames_of(seed), strict=True)
    return [measure(_loaded[0], seed, kind, frame, settings) for kind, frame in pairs]
