"""What is run, and what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.acceptance.daemon_facts import JobFacts
from benchmarks.acceptance.sender import SentStudy
from benchmarks.acceptance.stand_ins import Arrived
from benchmarks.acceptance.traffic import SeriesTraffic, Traffic
from edge_runtime.config import Config


@dataclass(frozen=True)
class Site:
    """What is to be run. `traffic` None: no shape was given."""

    file: Path
    config: Config
    traffic: Traffic | None
    seconds: float
    work: Path
    reserve_bytes: int | None = None  # instead of the configuration's


@dataclass
class Measured:
    """What was seen of the counted part of a run."""

    config: Config  # as it was tested
    traffic: dict[str, SeriesTraffic] = field(default_factory=dict)
    unsent: dict[str, str] = field(default_factory=dict)  # pipeline: why it was sent nothing
    sent: list[SentStudy] = field(default_factory=list)
    warm_up: list[SentStudy] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    jobs: list[JobFacts] = field(default_factory=list)
    frames: dict[str, dict[str, int]] = field(default_factory=dict)  # of the counted part, by source and outcome
    frames_from: float = 0.0  # Unix seconds
    frames_until: float = 0.0
    source_states: dict[str, str] = field(default_factory=dict)  # then
    source_losses: dict[str, int] = field(default_factory=dict)  # how often a source ended or could not be opened
    troubles: list[str] = field(default_factory=list)  # what the daemon counted as gone wrong, warm-up included
    lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by pipeline
    ended_at: float = 0.0
    ready_seconds: float | None = None  # None: it was not ready
    log: Path | None = None
    spool: Path | None = None
