"""Steps that are pytest runs: what their last line says, in numbers."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from benchmarks.gpu.outcome import Verdict, failed, not_run, passed
from benchmarks.gpu.running import Ended

_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed)")
_SKIPPED = re.compile(r"^SKIPPED \[(\d+)\] (.*)$", re.MULTILINE)
_BROKEN = re.compile(r"^(?:FAILED|ERROR) (.*)$", re.MULTILINE)
_NO_TESTS = 5


def command(paths: Sequence[str], *options: str) -> list[str]:
    """A run of these files. It needs no plugin of pytest; the project's settings for them are ignored."""
    plain = ["-o", "addopts=", "--import-mode=importlib", "-p", "no:cacheprovider"]
    quiet = ["-q", "-rsfE", "--tb=short", "-W", "ignore::pytest.PytestConfigWarning"]
    return [sys.executable, "-m", "pytest", *plain, *quiet, *options, *paths]


def read(ended: Ended) -> Verdict:
    """Passed where tests passed and none failed. Skipped ones are told, with their reasons."""
    counts: dict[str, int] = {}
    for number, what in _COUNT.findall(ended.last_line):
        counts[what.rstrip("s") if what.startswith("error") else what] = int(number)
    skipped = [f"{count} x {why}" for count, why in _SKIPPED.findall(ended.said)]
    broken = _BROKEN.findall(ended.said)
    details = {"counts": counts, "skipped": skipped, "broken": broken}
    figure = ", ".join(f"{number} {what}" for what, number in counts.items())
    if ended.code == 0 and counts.get("passed"):
        return passed(figure, details)
    if ended.code == _NO_TESTS or (ended.code == 0 and not counts.get("passed")):
        return not_run(skipped[0].partition(" x ")[2] if skipped else "there are no such tests", details)
    if broken:
        return failed(broken[0], figure, details)
    return failed(f"pytest ended with {ended.code}: {ended.last_line}", figure, details)
