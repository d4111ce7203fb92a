"""The steps, in the order of their worth: what each runs, what it needs, and how its end is read."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu import engines, facts, tests
from benchmarks.gpu.outcome import Verdict, failed, passed
from benchmarks.gpu.running import ROOT, Ended

SANITIZER = "compute-sanitizer"
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
_FOUND_ERRORS = 86
_BASE = ("numpy", "scipy", "pydicom", "yaml", "prometheus_client", "cryptography")
_TESTS = (*_BASE, "pytest", "hypothesis", "onnx", "onnxruntime", "cuda")
_ENGINES = (*_BASE, "onnx", "onnxruntime", "cuda")


@dataclass(frozen=True)
class Plan:
    """What all steps share: a work folder, the environment of their processes, and on which driver they run."""

    work: Path
    environment: dict[str, str]
    emulated: bool


@dataclass(frozen=True)
class Step:
    """A process of at most so many seconds; `needs`: modules without which it is not run."""

    name: str
    seconds: float
    needs: tuple[str, ...]
    command: Callable[[Plan], list[str]]
    read: Callable[[Ended, Plan], Verdict]
    impossible: Callable[[Plan], str | None] = lambda _: None

    def missing(self) -> str:
        """The first module that it needs and that is not installed."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), "")


def module(name: str, *arguments: str) -> list[str]:
    """The command of a module."""
    return [sys.executable, "-m", name, *arguments]


def _facts(ended: Ended, plan: Plan) -> Verdict:
    if ended.code != 0:
        return failed(f"ended with {ended.code}: {ended.last_line}")
    return facts.read(_json(plan.work / "facts.json"))


FACTS = Step("device", 60, _BASE, lambda plan: module("benchmarks.gpu.facts", str(plan.work / "facts.json")), _facts)
"""What the device is; copies there and back."""


def steps() -> list[Step]:
    """All but the first."""
    return [
        _pytest("kernels", 120, "tests/gpu/test_kernels.py"),
        _pytest("contracts", 120, *contracts()),
        _pytest("graphs", 60, "tests/gpu/test_graphs.py"),
        Step("site", 90, _ENGINES, _site, _read_site),
        _scenario("speed", "gpu-frame", 180),
        Step("engines", 90, _ENGINES, _engines, engines.read),
        *(_scenario(f"scenario {name}", name, 90) for name in ("engine", "pipeline", "video")),
        *(_sanitizer(tool) for tool in TOOLS),
    ]


def contracts() -> list[str]:
    """The suites of protocols that have an implementation on the device."""
    return [f"tests/contract/{path.name}" for path in sorted((ROOT / "tests/contract").glob("test_*.py"))
            if path.stem != "test_destinations"]  # fmt: skip


def _pytest(name: str, seconds: float, *paths: str) -> Step:
    return Step(name, seconds, _TESTS, lambda plan: tests.command(paths, "--basetemp", str(plan.work / "pytest")),
                lambda ended, _: tests.read(ended))  # fmt: skip


def _site(plan: Plan) -> list[str]:
    return module("benchmarks.gpu.site", str(plan.work / "site"))


def _read_site(ended: Ended, _plan: Plan) -> Verdict:
    if ended.code != 0:
        return failed(f"ended with {ended.code}: {ended.last_line}")
    return passed("engines and frames of the scenarios are there")


def _engines(plan: Plan) -> list[str]:
    return module("benchmarks.gpu.engines", str(plan.work / "engines.json"), str(plan.work / "site" / "engines"))


def _scenario(step: str, name: str, seconds: float) -> Step:
    """A shipped scenario on the device, of the networks of the site: a short run."""

    def command(plan: Plan) -> list[str]:
        site = plan.work / "site"
        short = ["--reduced"] if plan.emulated or step != "speed" else []
        return module("benchmarks.cli", "run", str(site / f"{name}.yaml"), "--json", str(plan.work / f"{name}.json"),
                      *short)  # fmt: skip

    def read(_ended: Ended, plan: Plan) -> Verdict:
        verdict = scenario_verdict(_json(plan.work / f"{name}.json"))
        return replace(verdict, figure="no figure was kept") if plan.emulated else verdict

    def impossible(plan: Plan) -> str | None:
        there = (plan.work / "site" / f"{name}.yaml").is_file()
        return None if there else "the step site, which makes its engines, did not pass"

    return Step(step, seconds, _ENGINES, command, read, impossible)


def scenario_verdict(document: dict[str, Any]) -> Verdict:
    """Of a scenario's result: it came to its end, and no target was missed."""
    targets = {n: f for n, f in document["figures"].items() if "target" in f and f.get("verdict")}
    missed = [f"{name} {_value(one)}" for name, one in targets.items() if one["verdict"] == "not met"]
    met = sum(one["verdict"] == "met" for one in targets.values())
    figure = f"{met} of {len(targets)} targets met" if targets else f"{len(document['figures'])} figures"
    details = {"result": document}
    if document["state"] != "complete":
        return failed((document["problems"] or [document["state"]])[0], figure, details)
    if missed:
        return failed(f"targets missed: {'; '.join(missed)}", figure, details)
    return passed(figure, details)


def _value(figure: dict[str, Any]) -> str:
    target = figure["target"]
    return f"{figure['median']:.3g} {figure['unit']} ({'>=' if target['at_least'] else '<='} {target['bound']:g})"


def _sanitizer(tool: str) -> Step:
    def command(_plan: Plan) -> list[str]:
        options = ["--tool", tool, "--error-exitcode", str(_FOUND_ERRORS), "--target-processes", "all"]
        return [SANITIZER, *options, *module("benchmarks.gpu.each_kernel")]

    def read(ended: Ended, _plan: Plan) -> Verdict:
        said = [line.strip("= ") for line in ended.said.splitlines() if "ERROR SUMMARY" in line]
        figure = said[-1] if said else ""
        if ended.code == 0 and said:
            return passed(figure)
        return failed(f"{SANITIZER} ended with {ended.code}: {ended.last_line}", figure)

    def impossible(_plan: Plan) -> str | None:
        return None if shutil.which(SANITIZER) else f"{SANITIZER} is not installed"

    return Step(f"sanitizer {tool}", 60, (*_BASE, "cuda"), command, read, impossible)


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
