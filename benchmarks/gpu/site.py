"""Engines, frames and scenarios for the steps that need them, in a work folder: short runs on the device.

python -m benchmarks.gpu.site FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.live.site import SYNTHETIC, prepare_site
from benchmarks.record import Record
from benchmarks.scenarios.schema import SHIPPED
from edge_runtime.backends.registry import choose
from edge_runtime.config import Engines

_FRAMES = 8
_DEADLINE_SECONDS = 1.0


def main(folder: Path) -> None:
    """Write all of it into a new folder."""
    folder.mkdir(parents=True)
    site = prepare_site(SYNTHETIC, folder, Record({}, reduced=True), _FRAMES, "cuda")
    config = site.config(folder / "site.yaml", _DEADLINE_SECONDS)
    chosen = choose(Engines(str(site.engines), device="cuda"))
    engines = [str(site.engines / name / f"{chosen.target}-fp32") for name in site.names]
    common = {"work": str(folder / "work"), "device": "cuda"}
    write(folder, "engine", {**common, "precisions": [], "engines": engines, "layers": 5})
    write(folder, "pipeline", {**common, "config": str(config), "input": "disc-frames"})
    write(folder, "video", {**common, "pipeline": SYNTHETIC, "camera": False})
    write(folder, "gpu-frame", {"work": common["work"], "rounds": 3, "seconds": 1.5, "saturated_seconds": 1.0})


def write(folder: Path, name: str, keys: Mapping[str, Any]) -> None:
    """A shipped scenario with other keys."""
    document = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({**document, **keys}, sort_keys=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
