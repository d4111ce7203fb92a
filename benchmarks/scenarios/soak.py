"""A long run: does anything grow? Simulated frames through scheduler and lanes, then real ones through the daemon."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.daemon import Daemon
from benchmarks.live.daemon import Frames, miss_share, write_daemon_config
from benchmarks.live.resources import Growth, Resources, growth, resources_of
from benchmarks.live.site import prepare_site
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.live_schema import Soak
from benchmarks.site import work_folder
from benchmarks.statistics import Target

NONE_TARGET = Target(0.0, at_least=False)
SIMULATED = "simulated frames"
_SAMPLES = 400

NOTES = [
    "growth: what a process holds in each later part of the run more than in the first, by the medians of the parts; "
    "the beginning of the run does not count. A steady leak has half of its growth in the middle, so the bound of "
    "memory is half of what the last part may hold more. What the last part holds too much is named as a problem.",
    "simulated frames: scheduler, lanes, preprocessing and decoding of two sources with networks that do nothing, in "
    "one process, as fast as it goes; now and then a network is slow.",
    "all other processes: the daemon on a video that is shown again and again, in real time.",
    "memory: VmRSS (proc(5)); descriptors: open files of all kinds.",
]


def run(scenario: Soak, record: Record) -> None:
    """Both parts, one after the other."""
    record.notes.extend(NOTES)
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        site = prepare_site(scenario.pipeline, work, record, scenario.distinct)
        _simulated(scenario, record, work)
        config = write_daemon_config(
            site, work, record, frames_per_second=scenario.frames_per_second,
            deadline_seconds=scenario.deadline_seconds, studies_after_seconds=None, outputs=True,
        )  # fmt: skip
        daemon = stack.enter_context(Daemon(config, work / "spool"))
        daemon.wait_ready(120.0)
        _real(scenario, record, daemon)


def _simulated(scenario: Soak, record: Record, work: Path) -> None:
    print(f"... {scenario.simulated_frames:,} simulated frames", flush=True)
    command = [sys.executable, "-m", "benchmarks.live.simulated", str(work / "simulated"),
               str(scenario.simulated_frames), str(_SAMPLES)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"simulated frames ended with {done.returncode}: {done.stderr[-1000:]}")
    *lines, last = [json.loads(line) for line in done.stdout.splitlines()]
    record.checks[SIMULATED] = last
    add_growth(record, SIMULATED, [Resources(**line) for line in lines], scenario, "million frames", 1e6)


def _real(scenario: Soak, record: Record, daemon: Daemon) -> None:
    print(f"... {scenario.minutes:g} minutes of real frames", flush=True)
    frames, began = Frames(daemon), time.monotonic()
    pids = {"supervisor": daemon.pid, **daemon.role_pids()}
    seconds = 60 * scenario.minutes
    samples: dict[str, list[Resources]] = {name: [] for name in pids}
    for number in range(_SAMPLES + 1):
        time.sleep(max(0.0, began + seconds * number / _SAMPLES - time.monotonic()))
        for name, pid in pids.items():
            samples[name].append(resources_of(pid, time.monotonic() - began))
    counts = frames.take()
    record.checks["real frames by outcome"] = counts
    record.checks["real frames without a result in time, %"] = round(100 * miss_share(counts), 3)
    for name, found in samples.items():
        add_growth(record, name, found, scenario, "hour", 3600.0)


def add_growth(
    record: Record, name: str, samples: Sequence[Resources], scenario: Soak, unit: str, unit_length: float
) -> None:
    """Add what a process held over a run. Samples are at frames or seconds; `unit_length` of them make a `unit`."""
    found: Growth = growth(samples, scenario.parts, scenario.warm_share)
    memory_target = Target(scenario.most_megabytes / 2, at_least=False)
    figures = [
        ("memory", found.megabytes, "MB", memory_target),
        ("threads", found.threads, "threads", NONE_TARGET),
        ("descriptors", found.descriptors, "descriptors", NONE_TARGET),
    ]
    for figure, above, of, target in figures:
        for value in above:
            record.add(f"{name}/growth of {figure}", value, of, higher_is_better=False, target=target)
        if above[-1] > 2 * target.bound:
            record.problems.append(f"{name} holds {above[-1]:.3g} {of} more in the last part than in the first")
    told: dict[str, Any] = {
        "last part less first, MB": round(found.megabytes[-1], 3),
        f"slope, MB a {unit}": round(found.slope * unit_length, 3),
        "threads": [samples[0].threads, samples[-1].threads],
        "descriptors": [samples[0].descriptors, samples[-1].descriptors],
    }
    record.checks[f"{name}: growth"] = told
    record.details[f"{name}: at, MB, threads, descriptors"] = [
        [round(one.at, 1), round(one.rss_bytes / 1e6, 2), one.threads, one.descriptors] for one in samples
    ]
