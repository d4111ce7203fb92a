"""Engines, frames and configuration of a scenario of live video, in its work folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.conversion import convert
from benchmarks.demo import ENGINES, build_engines
from benchmarks.gpu.driver import build_for_tensorrt
from benchmarks.live import networks
from benchmarks.live.frames import COLUMNS, ROWS, disc_frames, endoscopy_frames
from benchmarks.record import Record
from benchmarks.site import RESERVE_BYTES, read_site

SYNTHETIC, EFFICIENTNET, ENDOSCOPY = "synthetic", "efficientnet-b3", "endoscopy"
PIPELINES = (SYNTHETIC, EFFICIENTNET, ENDOSCOPY)
PIPELINE, SOURCE = "live", "camera"
DEADLINE_KEY = f"pipelines.{PIPELINE}.deadline_seconds"

_ENDOSCOPY = ("endoscopy-informative", "endoscopy-polyp-detector", "endoscopy-polyp-segmenter")
_DISC = (networks.CLASSIFIER, networks.DETECTOR, networks.SEGMENTER)
_LABELS = {ENDOSCOPY: "informative"}


@dataclass(frozen=True)
class LiveSite:
    """A pipeline of three stages with its engines, and frames on which all three run (`frames`: an .npy file)."""

    engines: Path
    names: tuple[str, str, str]
    label: str
    frames: Path
    device: str = "cpu"  # auto | cpu | cuda

    def stages(self) -> list[dict[str, Any]]:
        """A classifier, a detector where it is positive, and a segmenter within the detector's boxes."""
        first, second, third = self.names
        return [
            {"name": "triage", "engine": first},
            {"name": "find", "engine": second, "when": f"triage.{self.label}.positive"},
            {"name": "outline", "engine": third, "within": "find", "margin": 0.25},
        ]

    def config(
        self, file: Path, deadline_seconds: float, threads: int = 0, backend: str = "auto", **source: Any
    ) -> Path:
        """Write a configuration with one source of frames; `source`: more of its keys, or `url`."""
        document = {
            "spool": {"path": str(file.with_suffix(".spool")), "reserve_bytes": RESERVE_BYTES},
            "engines": {"path": str(self.engines), "allow_unsigned": True, "threads": threads,
                        "device": self.device, "backend": backend},
            "pipelines": [{"name": PIPELINE, "deadline_seconds": deadline_seconds, "stages": self.stages()}],
            "video": [{"name": SOURCE, "pipeline": PIPELINE, "url": "camera", "maximum_pixels": ROWS * COLUMNS,
                       **source}],
        }  # fmt: skip
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        return file


def prepare_site(
    pipeline: str, work: Path, record: Record, frames: int, device: str = "cpu", cost: int = 1
) -> LiveSite:
    """Build what is missing of a pipeline, make its frames, and note the hashes of its engines.

    `cost`: so many times as deep are the networks that look for a disc.

    Raises:
        BenchFailed: an engine cannot be built.
    """
    print(f"... engines and frames of {pipeline}", flush=True)
    if pipeline == ENDOSCOPY:
        build_engines(_ENDOSCOPY)
        engines, names, pictures = ENGINES.resolve(), _ENDOSCOPY, endoscopy_frames(frames)
    else:
        engines, names, pictures = work / "engines", _DISC, disc_frames(frames)
        _build_discs(engines, pipeline, cost, device)
    file = work / "frames.npy"
    np.save(file, pictures)
    site = LiveSite(engines, names, _LABELS.get(pipeline, networks.LABEL), file, device)
    read_site(str(site.config(work / "site.yaml", 1.0)), record)
    return site


def _build_discs(engines: Path, pipeline: str, cost: int, device: str) -> None:
    folders = networks.write_networks(engines, cost)
    if pipeline == EFFICIENTNET:
        from benchmarks.live.efficientnet import write_classifier

        write_classifier(folders[0])
    for folder in folders:
        built = convert(folder, "onnxruntime", "fp32").folder
        if device == "cuda":
            build_for_tensorrt(built)
