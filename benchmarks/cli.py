"""The command `edge-bench`. Exit codes: 0 done, 1 runtime failure (or not comparable), 2 usage."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.acceptance.options import add_site_parser
from benchmarks.compare import NotComparable, by_chance, changes, compare
from benchmarks.daemon import DaemonFailed
from benchmarks.gpu.driver import is_emulated
from benchmarks.provenance import Watch
from benchmarks.record import BenchFailed, Record, State, table
from benchmarks.result_file import NotAResult, read_result
from benchmarks.scenarios.schema import Scenario, read_scenario, shipped
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE, EXIT_USAGE, ConfigurationError, EdgeRuntimeError

log = logging.getLogger(__name__)

_FAILURES = (BenchFailed, DaemonFailed, EdgeRuntimeError, OSError, TimeoutError, subprocess.SubprocessError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except (ConfigurationError, NotAResult) as error:
        print(f"edge-bench: {error}", file=sys.stderr)
        return EXIT_USAGE
    except NotComparable as error:
        print(f"edge-bench: {error}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-bench", description="Measures Edge Runtime against its peers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    run = commands.add_parser("run", help="run a scenario", description="Run a scenario and write its result.")
    run.add_argument("scenario", metavar="SCENARIO", help=f"{', '.join(shipped())}, or a YAML file")
    run.add_argument("--json", metavar="OUT", type=Path, required=True, help="where the result goes")
    run.add_argument("--rounds", type=_rounds, help="instead of the scenario's")
    run.add_argument("--reduced", action="store_true", help="a tiny version that gives no verdict")
    text = "Compare two results of one scenario from one machine."
    versus = commands.add_parser("compare", help="compare two results", description=text)
    versus.add_argument("a", metavar="A.json", type=Path)
    versus.add_argument("b", metavar="B.json", type=Path)
    told = commands.add_parser("report", help="show a result as one HTML page", description="Show a result as a page.")
    told.add_argument("result", metavar="OUT.json", type=Path)
    told.add_argument("--html", metavar="FILE", type=Path, help="the page; beside the result, unless told otherwise")
    add_site_parser(commands)
    return parser


def _rounds(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _run(options: argparse.Namespace) -> int:
    name, scenario = read_scenario(options.scenario)
    if options.reduced:
        scenario = scenario.reduced()
    described = {"name": name, **dataclasses.asdict(scenario)}
    if options.rounds is not None:
        scenario = dataclasses.replace(scenario, rounds=options.rounds)
    described["rounds"] = scenario.rounds
    if not options.json.parent.is_dir():
        raise ConfigurationError(f"--json {options.json}: there is no folder {options.json.parent}")
    if options.json.is_dir() or not os.access(options.json.parent, os.W_OK):
        raise ConfigurationError(f"--json {options.json}: no file can be written there")
    record = Record(described, options.reduced)
    watch = Watch()
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs is stopped, what is known is written
    try:
        state = _measure(scenario, record)
        for one in before:
            signal.signal(one, signal.SIG_IGN)  # a second one must not lose it
        _write(options.json, state, scenario, record, watch)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    return EXIT_DONE if state == "complete" else EXIT_FAILURE


def _write(out: Path, state: State, scenario: Scenario, record: Record, watch: Watch) -> None:
    """Print the result, and write it."""
    folder = Path(scenario.work) if Path(scenario.work).is_dir() else out.parent
    if is_emulated():
        record.forget("emulated driver: nothing of this ran on a GPU, and no figure was kept")
    provenance = watch.document(folder, record.inputs.get("engines"))
    record.problems.extend(watch.unrest(provenance))
    document = record.document(state, provenance)
    print(table(document))
    for problem in document["problems"]:
        print(f"problem: {problem}")
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{state}: {out} ({provenance['device']})")


def _measure(scenario: Scenario, record: Record) -> State:
    """Run the scenario; how it ended. What was measured until then is in the record."""
    try:
        _module(scenario).run(scenario, record)
    except KeyboardInterrupt:
        record.problems.append("interrupted: later rounds are missing")
        return "interrupted"
    except _FAILURES as error:
        record.problems.insert(0, str(error) or type(error).__name__)
        return "failed"
    except Exception as error:  # what was measured until then is kept
        log.exception("the scenario failed")
        record.problems.append(f"an error of the suite itself: {type(error).__name__}: {error}")
        return "failed"
    return "complete"


def _module(scenario: Scenario) -> Any:
    """The module of a kind of scenario: benchmarks.scenarios.idle_gap of `idle-gap`."""
    return importlib.import_module(f"benchmarks.scenarios.{scenario.kind.replace('-', '_')}")


def _compare(options: argparse.Namespace) -> int:
    a, b = read_result(options.a), read_result(options.b)
    found = compare(a, b)
    for device in sorted({one.device for one in found}):
        print(f"on the {device.upper()}:")
        for one in (each for each in found if each.device == device):
            interval = f"{one.interval.low:.3f} .. {one.interval.high:.3f}"
            print(f"  {one.name}: A {one.median_a:.4g}, B {one.median_b:.4g} {one.unit}; B / A {one.ratio:.3f} "
                  f"({interval}): {one.verdict}")  # fmt: skip
    if not found:
        print("the two results have no figure in common")
    elif (chance := by_chance(found)) >= 1:
        print(f"note: of {len(found)} comparisons about {chance:.0f} would show a difference by chance alone")
    for change in changes(a, b):
        print(f"note: {change}")
    return EXIT_DONE


def _report(options: argparse.Namespace) -> int:
    """Write the page of a result. Matplotlib is imported only here."""
    from benchmarks.html import write_page

    target = options.html or options.result.with_suffix(".html")
    if target.resolve() == options.result.resolve():
        raise ConfigurationError(f"--html {target}: the page would take the place of the result")
    try:
        write_page(read_result(options.result), options.result, target)
    except (BenchFailed, OSError) as error:
        print(f"edge-bench: {error}", file=sys.stderr)
        return EXIT_FAILURE
    print(f"page: {target}")
    return EXIT_DONE


def _site(options: argparse.Namespace) -> int:
    """Accept a site. What sends its traffic is imported only here."""
    from benchmarks.acceptance.command import run_site

    return run_site(options)


_COMMANDS = {"run": _run, "compare": _compare, "report": _report, "site": _site}

if __name__ == "__main__":
    sys.exit(main())
