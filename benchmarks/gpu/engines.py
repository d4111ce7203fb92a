"""Every built engine that there is against its golden output, on the device.

python -m benchmarks.gpu.engines OUT.json FOLDER ...      beside those below engines/
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.devices import Opened, open_for
from benchmarks.gpu.outcome import Verdict, failed, not_run, passed
from benchmarks.gpu.running import ROOT, Ended
from benchmarks.provenance import described
from benchmarks.scenarios.engine_runs import Bare
from edge_runtime.engines.golden import golden_difference
from edge_runtime.engines.passport import PASSPORT_FILE
from edge_runtime.engines.target import check_target
from edge_runtime.engines.verify import VerifiedEngine, verify
from edge_runtime.errors import BackendUnavailable, EdgeRuntimeError

_RUNS = 20


def read(ended: Ended, plan: Any) -> Verdict:
    """Of what `main` wrote: failed where an engine gives another output."""
    found: dict[str, dict[str, Any]] = json.loads((plan.work / "engines.json").read_text())
    by = {what: [name for name, one in found.items() if one["outcome"] == what] for what in ("right", "wrong")}
    figure = f"{len(by['right'])} of {len(found)} engines give their golden output"
    details: dict[str, Any] = {"engines": found}
    if ended.code != 0:
        return failed(f"ended with {ended.code}: {ended.last_line}", figure, details)
    if by["wrong"]:
        return failed(f"{by['wrong'][0]}: {found[by['wrong'][0]]['why']}", figure, details)
    if not by["right"]:
        return not_run(next((one["why"] for one in found.values()), "no engine is built"), details)
    return passed(figure, details)


def main(out: Path, more: Sequence[Path]) -> None:
    """Try each, and write what came of it after each: a device that is lost takes no result with it."""
    found: dict[str, Any] = {}
    for folder in built([ROOT / "engines", *more]):
        name = f"{folder.parent.name}/{folder.name}"
        found[name] = {"outcome": "wrong", "why": "the process ended in its run"}
        out.write_text(json.dumps(found))
        found[name] = tried(folder)
        out.write_text(json.dumps(found, indent=1, default=str))
    out.write_text(json.dumps(found, indent=1, default=str))


def built(places: Sequence[Path]) -> list[Path]:
    """The folders of built engines below these."""
    return [path.parent for place in places for path in sorted(place.glob(f"*/*/{PASSPORT_FILE}"))]


def tried(folder: Path) -> dict[str, Any]:
    """What came of one engine: `right`, `wrong`, or `not run` where its library or an engine for this SM is missing."""
    try:
        engine = verify(folder, (), allow_unsigned=True, allow_ungated=True, any_machine=True)
        with open_for(engine.passport.target.flavour, "cuda") as opened:
            return _golden(engine, opened)
    except (BackendUnavailable, ModuleNotFoundError) as error:
        return {"outcome": "not run", "why": str(error)}
    except EdgeRuntimeError as error:
        return {"outcome": "wrong", "why": f"{type(error).__name__}: {error}"}


def _golden(engine: VerifiedEngine, opened: Opened) -> dict[str, Any]:
    backend, device = opened.backend, opened.device
    told = {**described(engine), "library": f"{backend.name} {backend.version}"}
    try:
        check_target(engine, backend.name, backend.version, device.facts)
    except EdgeRuntimeError as error:
        said = {"library_says": _said(engine, opened)} if backend.name == "tensorrt_rtx" else {}
        return {**told, "outcome": "not run", "why": str(error), **said}
    bare = Bare(engine, backend, device)
    try:
        of_input, of_output = golden_difference(engine.golden, bare.prepared, bare.answer())
        times = bare.run(_RUNS).summary()
    finally:
        bare.close()
    right = max(of_input, of_output) <= engine.card.tolerance
    why = "" if right else f"its output differs by {of_output:.3g}, its card allows {engine.card.tolerance:g}"
    found = {"difference": of_output, "tolerance": engine.card.tolerance, "times_ms": times}
    return {**told, **found, "outcome": "right" if right else "wrong", "why": why, "on": device.facts.name}


def _said(engine: VerifiedEngine, opened: Opened) -> str:
    """What the library itself says of an engine that is for another device, word for word."""
    try:
        opened.backend.load(engine.data, opened.device).close()
    except EdgeRuntimeError as error:
        return str(error)
    return "it takes the engine"


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(one) for one in sys.argv[2:]])
