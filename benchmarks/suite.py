"""Runs the scenarios one after the other and keeps their results: `make bench`.

python -m benchmarks.suite [--results DIR] [--rounds N] [--reduced] [SCENARIO ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.provenance import QUIET_LOAD
from benchmarks.scenarios.schema import shipped
from benchmarks.tables import README, RESULTS, refresh
from edge_runtime.device.probe import asked
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE

LAST = ("soak",)
"""It takes an hour."""
ON_A_GPU = ("gpu-frame",)
_SETTLE_SECONDS = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; 1 where one did not come to its end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description="Runs the scenarios.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="shipped names; all where none is given")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that gets them")
    parser.add_argument("--rounds", type=int, help="instead of each scenario's")
    parser.add_argument("--reduced", action="store_true", help="tiny versions that give no verdict")
    options = parser.parse_args(arguments)
    options.results.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in options.scenarios or in_order(shipped()) if _possible(name)]
    more = ["--reduced"] if options.reduced else []
    more += [] if options.rounds is None else ["--rounds", str(options.rounds)]
    failed = [name for name in chosen if not _run(name, options.results, more)]
    if options.results.resolve() == RESULTS.resolve() and not options.reduced:
        refresh(README, RESULTS)
    for name in failed:
        print(f"{name} did not come to its end; its former result was kept, see {name}.unfinished.json")
    return EXIT_FAILURE if failed else EXIT_DONE


def in_order(names: Sequence[str]) -> list[str]:
    """All of them, those that take long at the end."""
    return sorted(names, key=lambda name: (name in LAST, name))


def _possible(name: str) -> bool:
    """Whether this machine can run it; says why not."""
    why = asked() if name in ON_A_GPU else None
    if isinstance(why, str):
        print(f"{name} is left out, it needs a GPU: {why}")
    return not isinstance(why, str)


def settle(seconds: float = _SETTLE_SECONDS) -> None:
    """Wait until the load of what ran before has gone from the load average, at most so long."""
    give_up_at = time.monotonic() + seconds
    while os.getloadavg()[0] > QUIET_LOAD * len(os.sched_getaffinity(0)) and time.monotonic() < give_up_at:
        time.sleep(1.0)


def _run(name: str, results: Path, more: Sequence[str]) -> bool:
    """Run one; its result takes the place of the former one when it is complete."""
    print(f"=== {name}", flush=True)
    fresh = results / f"{name}.unfinished.json"
    if "--reduced" not in more:
        settle()
    command = [sys.executable, "-m", "benchmarks.cli", "run", name, "--json", str(fresh)]
    done = subprocess.run([*command, *more], check=False)
    if done.returncode != EXIT_DONE or json.loads(fresh.read_text())["state"] != "complete":
        return False
    fresh.replace(results / f"{name}.json")
    return True


if __name__ == "__main__":
    sys.exit(main())
