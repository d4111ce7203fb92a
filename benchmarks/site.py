"""What the scenarios share: a folder on a real disk, a configuration with its engines, the memory of processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.demo import ENGINES, build_engines
from benchmarks.provenance import described, file_system, sha256_of
from benchmarks.record import BenchFailed, Record
from edge_runtime.config import Config
from edge_runtime.engines.card import CARD_FILE
from edge_runtime.engines.required import verify_engines
from edge_runtime.errors import EngineError
from edge_runtime.yaml_schema import read_schema

RESERVE_BYTES = 500_000_000


@contextlib.contextmanager
def work_folder(parent: str, record: Record) -> Iterator[Path]:
    """A new folder below `parent`, deleted at the end.

    Raises:
        BenchFailed: `parent` is in memory, where an fsync costs nothing, and the run is not a reduced one.
    """
    Path(parent).mkdir(parents=True, exist_ok=True)
    on = file_system(Path(parent))
    if on.in_memory:
        text = f"work folder {parent} is on {on.type}, where durability costs nothing; name a folder on a disk"
        if not record.reduced:
            raise BenchFailed(text)
        record.problems.append(text)
    folder = Path(tempfile.mkdtemp(prefix="edge-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_site(path: str, record: Record) -> Config:
    """Read the configuration, build the demo's engines where they are missing, and note the hashes of all.

    Raises:
        EdgeRuntimeError: the configuration or an engine cannot be used.
    """
    config = read_schema(Config, Path(path))
    try:
        engines = _engines(config)
    except EngineError:
        names = sorted({s.engine for p in config.pipelines for s in p.stages})
        if not all((ENGINES / name / CARD_FILE).is_file() for name in names) or Path(config.engines.path) != ENGINES:
            raise
        build_engines(names)
        engines = _engines(config)
    record.inputs["configuration_sha256"] = sha256_of(Path(path))
    record.inputs["engines"] = engines
    return config


def _engines(config: Config) -> dict[str, dict[str, Any]]:
    return {
        stage.asked: described(verified[stage.name])
        for pipeline in config.pipelines
        for verified in [verify_engines(pipeline, config.engines)]
        for stage in pipeline.stages
    }


def write_variant(path: str, out: Path, pipeline: dict[str, object], destinations: list[dict[str, object]]) -> Path:
    """The configuration with keys of its first pipeline and all destinations replaced."""
    document = yaml.safe_load(Path(path).read_text())
    document["pipelines"][0].update(pipeline)
    document["pipelines"] = document["pipelines"][:1]
    document["destinations"] = destinations
    out.write_text(yaml.safe_dump(document, sort_keys=False))
    return out


def memory_bytes(pid: int, field: str = "VmRSS") -> int:
    """A memory field of a process as proc(5) names it: VmRSS now, VmHWM the most it ever was."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise BenchFailed(f"process {pid} shows no {field}; it has ended")


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def settle() -> None:
    """Let the disk finish what was written before, so that it is not charged to who comes next."""
    os.sync()
