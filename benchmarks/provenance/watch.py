"""The watch over a run: what the machine is, its state before and after, and its load meanwhile."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.provenance.differences import differences
from benchmarks.provenance.disk import file_system
from benchmarks.provenance.engines import accelerator_of
from benchmarks.provenance.load import LoadSampler, shares, summary
from benchmarks.provenance.machine import machine
from benchmarks.provenance.state import state
from benchmarks.provenance.versions import git_commit, packages, peers

QUIET_LOAD = 0.5
"""One-minute load average a core, before the start, above which the machine is not quiet."""
QUIET_SHARE = 0.1
"""Share of all cores' time that other programs and other machines on the same hardware may take during the run."""
QUIET_MINUTE_SHARE = 0.25
"""The same in the worst minute of a longer run."""
QUIET_STEAL = 0.02
"""Share of all cores' time that a hypervisor may give to other machines."""


class Watch:
    """Notes the machine's state, then how busy it is, from its construction to `document()`."""

    def __init__(self) -> None:
        self._load = os.getloadavg()
        self._before = state()
        self._date = datetime.datetime.now(datetime.timezone.utc)
        self._began = time.monotonic()
        self._sampler = LoadSampler()

    def document(self, work: Path, engines: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """All that a reader needs to judge or repeat the run.

        Args:
            work: The folder whose disk was used.
            engines: As `record.inputs["engines"]` has them; they tell on what the run was made.
        """
        why = self._sampler.stop()
        seconds = time.monotonic() - self._began
        after = state()
        facts = machine()
        moments = self._sampler.moments
        whole = shares(moments[0], moments[-1], facts["cores"]) if len(moments) > 1 else None
        load = summary(moments, facts["cores"]) if whole is not None else {}
        load["sampling_cpu_seconds"] = round(self._sampler.cpu_seconds, 3)
        if why is not None:
            load["incomplete"] = why
        accelerator = accelerator_of(engines or {})
        programs = peers()
        return {
            "date": self._date.isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "device": _device(accelerator, facts, after),
            "accelerator": accelerator,
            **facts,
            "load_average_before": list(self._load),
            "load_average_after": list(os.getloadavg()),
            "cpu_share_of_other_programs": None if whole is None else round(min(1.0, whole.others + whole.stolen), 4),
            "load": load,
            "before": self._before,
            "after": after,
            "python": platform.python_version(),
            "packages": packages(),
            "dcmtk": programs["dcmtk"],
            "peers": programs,
            "git_commit": git_commit(),
            "file_system": file_system(work).document(),
        }

    def unrest(self, document: dict[str, Any]) -> list[str]:
        """Why the machine was not quiet, or not in one state, as a reader must be told."""
        found = []
        if self._load[0] > QUIET_LOAD * document["cores"]:
            found.append(f"the machine was not quiet: load average {self._load[0]:.2f} before the start")
        found += disturbances(document)
        return found + differences(document["before"], document["after"], gpu_used=document["accelerator"] != "cpu")


def disturbances(document: dict[str, Any]) -> list[str]:
    """What others took during the run, where it was more than a quiet machine has."""
    load, found = document["load"], []
    share = document["cpu_share_of_other_programs"]
    if share is None or "incomplete" in load:
        found.append(
            f"the load of the machine during the run is not fully known: {load.get('incomplete', 'one sample')}"
        )
    if share is not None and share > QUIET_SHARE:
        found.append(f"the machine was not quiet: other programs took {share:.0%} of its cores' time")
    worst = load.get("others_share", {}).get("worst_minute", 0.0)
    if worst > QUIET_MINUTE_SHARE:
        found.append(
            f"the machine was not quiet: in its worst minute other programs took {worst:.0%} of its cores' time"
        )
    steal = load.get("steal_share", {})
    most = max(steal.get("whole_run", 0.0), steal.get("worst_minute", 0.0))
    if most > QUIET_STEAL:
        found.append(f"the machine was not quiet: its hypervisor gave {most:.1%} of its cores' time to other machines")
    return found


def _device(accelerator: str, facts: dict[str, Any], now: dict[str, Any]) -> str:
    processor = f"CPU: {facts['cpu_model']}, {facts['cores']} cores"
    if accelerator == "cpu":
        return f"{processor}; no accelerator was used"
    cards = [card.get("name", "unnamed") for card in now.get("gpus", [])]
    return f"GPU: {', '.join(cards) or facts.get('board', 'unknown')}; {processor}"
