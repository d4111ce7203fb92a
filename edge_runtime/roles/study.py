"""What infer and `analyse` share: from the stored images of one series to a JobResult."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime.assemble.decoded import DecodedObject, ImageFacts
from edge_runtime.assemble.volume import assemble, stated_count
from edge_runtime.config import Pipeline as PipelineConfig
from edge_runtime.domain import InputInstance, JobResult, Volume
from edge_runtime.errors import AssemblyRefused
from edge_runtime.spool.receipt import Receipt
from edge_runtime.stages.key_images import key_images
from edge_runtime.stages.pipeline import Pipeline, Trace


@dataclass(frozen=True)
class Study:
    """One series as it stands for one pipeline. Times are Unix seconds (UTC)."""

    job_id: str
    revision: int
    receipts: tuple[Receipt, ...]
    completeness: str
    deadline_at: float

    @property
    def first_received_at(self) -> float:
        """When the first image was received."""
        return min(receipt.arrival.received_at for receipt in self.receipts)

    @property
    def last_received_at(self) -> float:
        """When the last image was received."""
        return max(receipt.arrival.received_at for receipt in self.receipts)


def conclude(
    study: Study,
    config: PipelineConfig,
    pipeline: Pipeline,
    objects: Sequence[DecodedObject],
    seconds_left: float | None = None,
    trace: Trace | None = None,
) -> JobResult:
    """Assemble the decoded objects and run the pipeline on them; None for `seconds_left` skips no optional stage.

    Raises:
        AssemblyRefused: they make no volume and no frame sequence, or too few slices for this pipeline.
    """
    image = assemble(objects, kind=pipeline.input_kind)
    planes = len(image.sources)
    if planes < config.wanted.minimum_slices:
        raise AssemblyRefused("minimum_slices", f"{planes} of at least {config.wanted.minimum_slices} slices came")
    analysis = pipeline.run(image, seconds_left, trace)
    return JobResult(
        job_id=study.job_id,
        pipeline=config.name,
        pipeline_stages=pipeline.stages_json,
        revision=study.revision,
        modality=image.modality,
        geometry=image.geometry if isinstance(image, Volume) else None,
        sources=image.sources,
        inputs=tuple(
            InputInstance(r.arrival.sop_class_uid, r.arrival.sop_instance_uid, r.sha256) for r in study.receipts
        ),
        completeness=_completeness(study, planes, stated_count(objects)),
        first_received_at=study.first_received_at,
        last_received_at=study.last_received_at,
        concluded_at=time.time(),
        deadline_at=study.deadline_at,
        analysis=analysis,
        key_images=key_images(image, analysis.masks, _window(objects[0].facts)),
        notes=pipeline.notes,
    )


def _window(facts: ImageFacts) -> tuple[float, float] | None:
    """The scanner's window where its values are physical; others are mirrored or rescaled before they are shown."""
    usable = facts.modality == "CT" and facts.window is not None and facts.window[1] >= 1
    return facts.window if usable else None


def _completeness(study: Study, planes: int, stated: int | None) -> str:
    """How many images were seen, and how the runtime knows that they were all."""
    claim = f"; the images state {stated} in the acquisition" if stated is not None else ""
    return f"{planes} slices or frames of {len(study.receipts)} objects; {study.completeness}{claim}"
