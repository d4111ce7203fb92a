"""What it takes to make engines of a checkpoint: seconds and memory, and the share of each step."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.conversion import Conversion, convert
from benchmarks.networks import NAME, write_resnet18
from benchmarks.record import Record
from benchmarks.scenarios.schema import Convert
from benchmarks.site import settle, work_folder
from benchmarks.statistics import Target
from converters.report import read_report

MEGABYTE = 1_000_000

NOTES = [
    "all: the sum of the builds, each from the start of the command to its end, one after the other; the second finds "
    "the calibration of the first. Every round begins with nothing but card and checkpoint.",
    "peak: resident memory of the command and all that it starts, at once, sampled every 50 ms.",
    "The steps are those of each build's report; 'other' is the rest: starting Python, importing, measuring the layers "
    "and the latency for the report, drawing its plots, writing.",
    "The TensorRT-RTX engine is built without a GPU and was not run.",
]


def run(scenario: Convert, record: Record) -> None:
    """Build the engines once a round."""
    record.notes.extend(NOTES)
    with work_folder(scenario.work, record) as work:
        original = work / "model"
        write_resnet18(original, scenario.calibration, scenario.holdout)
        for number in range(1, scenario.rounds + 1):
            model = work / "engines" / NAME
            shutil.copytree(original, model)
            settle()
            builds = [_build(scenario, model, target) for target in scenario.engines]
            _add_round(record, builds, scenario)
            shutil.rmtree(model.parent)
            print(f"round {number} of {scenario.rounds} done", flush=True)


def _build(scenario: Convert, model: Path, target: str) -> Conversion:
    cards = ["--sm", ",".join(scenario.compute_capabilities)] if target == "tensorrt-rtx" else []
    return convert(model, target, "int8", *cards)


def _add_round(record: Record, builds: list[Conversion], scenario: Convert) -> None:
    seconds, bytes_of = scenario.targets.seconds, scenario.targets.megabytes
    record.add("all", sum(one.seconds for one in builds), "s", higher_is_better=False, target=_at_most(seconds))
    record.add("peak", max(one.peak_bytes for one in builds) / MEGABYTE, "MB", higher_is_better=False,
               target=_at_most(bytes_of))  # fmt: skip
    for one in builds:
        name = one.folder.name
        record.add(name, one.seconds, "s", higher_is_better=False)
        record.add(f"{name}/peak", one.peak_bytes / MEGABYTE, "MB", higher_is_better=False)
        report = read_report(one.folder)
        steps = {step.what: step.seconds for step in report.steps}
        steps["other"] = one.seconds - sum(steps.values())
        shares = {what: round(taken / one.seconds, 4) for what, taken in steps.items()}
        record.details.setdefault(f"{name}/share of each step", []).append(shares)
        record.checks[f"{name}/metrics"] = {row.metric: [row.fp32.value, row.found.value] for row in report.metrics}
        record.checks[f"{name}/layers kept in fp32"] = len(report.raised)
        record.inputs.setdefault("engines", {})[name] = {"sha256": report.engine_sha256, "precision": "int8"}


def _at_most(bound: float | None) -> Target | None:
    return None if bound is None else Target(bound, at_least=False)
