"""One command on a machine with an NVIDIA GPU: `make gpu-test`.

python -m benchmarks.gpu [--json OUT.json] [--seconds N] [--emulated]

Exit codes: 0 nothing failed (also where there is no GPU, of which it says why), 1 a step failed or it was interrupted,
2 usage.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.driver import environment
from benchmarks.gpu.outcome import Done, Outcome, Verdict, counted, failed, not_run, table
from benchmarks.gpu.running import ROOT, run
from benchmarks.gpu.steps import FACTS, Plan, Step, steps
from benchmarks.provenance import Watch
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE, EXIT_USAGE

RESULTS = ROOT / "benchmarks" / "results"
SCHEMA_VERSION = 1
_SECONDS = 480.0
_LEAST_SECONDS = 5.0  # below which a step is not begun


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Tests on an NVIDIA GPU.")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="instead of benchmarks/results/gpu/NAME.json")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for all steps together")
    parser.add_argument("--steps", help="only these, such as kernels,speed; the device is always looked at")
    parser.add_argument("--emulated", action="store_true", help="test this command itself, without a GPU")
    options = parser.parse_args(arguments)
    if options.emulated and (options.json is None or RESULTS in options.json.resolve().parents):
        print(f"with --emulated nothing is a result: give --json a file outside {RESULTS}", file=sys.stderr)
        return EXIT_USAGE
    if options.steps is not None:
        known = [step.name for step in steps()]
        unknown = [name for name in options.steps.split(",") if name not in known]
        if unknown:
            print(f"there is no step {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
            return EXIT_USAGE
    with tempfile.TemporaryDirectory(prefix="edge-gpu-test-", dir="/var/tmp") as work:
        return _Command(options, Path(work)).main()


class _Command:
    """The steps in the order of their worth, as long as there is time."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self._options = options
        self._plan = Plan(work, environment(emulated=options.emulated), options.emulated)
        self._ends_at = time.monotonic() + options.seconds
        self._done: list[Done] = []
        self._watch = Watch()

    def main(self) -> int:
        facts = self._facts()
        if "absent" in facts:
            print(f"there is no GPU here, so nothing was tested: {facts['absent']}")
            return EXIT_DONE
        state = "complete"
        with _interruptible():
            try:
                for step in self._chosen():
                    self._do(step)
            except KeyboardInterrupt:
                state = "interrupted: later steps are missing"
        self._tell(state, facts)
        wrong = any(one.verdict.outcome is Outcome.FAILED for one in self._done)
        return EXIT_FAILURE if wrong or state != "complete" else EXIT_DONE

    def _chosen(self) -> Iterator[Step]:
        """All steps, or those that were asked for."""
        asked = self._options.steps
        return (step for step in steps() if asked is None or step.name in asked.split(","))

    def _facts(self) -> dict[str, Any]:
        """The first step: it says whether there is a device at all."""
        out = self._plan.work / "facts.json"
        self._do(FACTS, quiet=True)
        found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
        return found

    def _do(self, step: Step, *, quiet: bool = False) -> None:
        """Run one step, or say why not."""
        left = self._ends_at - time.monotonic()
        began = time.monotonic()
        if missing := step.missing():
            verdict = not_run(f"no module {missing}")
        elif (why := step.impossible(self._plan)) is not None:
            verdict = not_run(why)
        elif left < _LEAST_SECONDS:
            verdict = not_run("no time was left; give more --seconds")
        else:
            verdict = self._run(step, min(step.seconds, left))
        self._done.append(Done(step.name, verdict, time.monotonic() - began))
        if not quiet:
            print(f"{step.name}: {verdict.outcome.value}{': ' if verdict.why else ''}{verdict.why}", flush=True)

    def _run(self, step: Step, seconds: float) -> Verdict:
        log = self._plan.work / f"{re.sub('[^a-z0-9]+', '-', step.name)}.log"
        ended = run(step.command(self._plan), self._plan.environment, seconds, log)
        if ended.code is None:
            return failed(f"was not done after {ended.seconds:.0f} s: {ended.last_line}", "", _tail(ended.said))
        try:
            verdict = step.read(ended, self._plan)
        except (OSError, ValueError, KeyError) as error:
            verdict = failed(f"ended with {ended.code} and said nothing that is understood ({error}): "
                             f"{ended.last_line}")  # fmt: skip
        if verdict.outcome is Outcome.FAILED:
            verdict.details.update(_tail(ended.said))
        return verdict

    def _tell(self, state: str, facts: dict[str, Any]) -> None:
        """Print the table, and write the file."""
        driver = "emulated driver: nothing of this ran on a GPU" if self._options.emulated else "NVIDIA"
        name = facts.get("facts", {}).get("name", "GPU")
        out = self._options.json or RESULTS / "gpu" / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
        engines = {} if self._options.emulated else {"all": {"backend": "any", "device": "gpu"}}
        document = {
            "schema_version": SCHEMA_VERSION, "state": state, "driver": driver,
            "steps": [one.document() for one in self._done], "device": facts,
            "provenance": self._watch.document(self._plan.work, engines),
        }  # fmt: skip
        print(f"\n{name} ({driver})\n{table(self._done)}")
        print(f"{counted(self._done)}; {state}: {out}")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(document, indent=1, default=str) + "\n")


def _tail(said: str) -> dict[str, Any]:
    """The end of what a step said, for the file."""
    return {"said": said.splitlines()[-60:]}


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the steps as Ctrl-C does: what was measured is kept."""
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


if __name__ == "__main__":
    sys.exit(main())
