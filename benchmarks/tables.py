"""The table of results in benchmarks/README.md, made from benchmarks/results/: what is quoted is what was measured.

python -m benchmarks.tables      writes it again
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

README = Path(__file__).parent / "README.md"
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
_HEAD = ("| figure | median (samples) | 95 % interval | target | verdict |", "|---|---|---|---|---|")
_FOLDED = 4
"""Figures of one kind beyond which only the worst is quoted."""


def refresh(readme: Path, results: Path) -> None:
    """Write the table between its marks.

    Raises:
        ValueError: the marks are missing.
    """
    text = readme.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme.name} has no {BEGIN} and {END}")
    readme.write_text(f"{before}{BEGIN}\n{tables(results)}\n{END}{after}")


def tables(results: Path) -> str:
    """A section a result: where it comes from, and its ratios and targets."""
    documents = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    return "\n\n".join(section(one) for one in documents if one["state"] == "complete" and not one["reduced"])


def section(document: Mapping[str, Any]) -> str:
    """One result: heading, provenance in a line, its rows, its problems. One table a kind of device."""
    provenance = document["provenance"]
    commit = (provenance.get("git_commit") or "unknown")[:7]
    lines = [
        f"### `{document['scenario']['name']}`",
        "",
        f"{provenance['device']}; {provenance['date'][:10]}, commit {commit}",
    ]
    for device in sorted({figure.get("device", "cpu") for figure in document["figures"].values()}):
        figures = {n: one for n, one in document["figures"].items() if one.get("device", "cpu") == device}
        rows = list(_rows(figures))
        lines += ["", *_HEAD, *rows] if rows else []
    lines += [f"- {name}: {_curve(curve)}" for name, curve in document.get("curves", {}).items()]
    problems = list(_problems(document["problems"]))
    lines += ["", *(f"- problem: {problem}" for problem in problems)] if problems else []
    return "\n".join(lines)


def _problems(problems: Sequence[str]) -> Iterator[str]:
    """All of them; loads that are shorter than LoadGen's are told together."""
    short = {problem.partition(":")[0] for problem in problems if "LoadGen's" in problem}
    if short:
        yield f"{len(short)} loads are shorter than LoadGen's 60 s and 1,024 queries (offline 24,576 samples)"
    yield from (problem for problem in problems if "LoadGen's" not in problem)


def _rows(figures: Mapping[str, Any]) -> Iterator[str]:
    """Ratios and what has a target; of many figures of one kind the worst."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name, figure in figures.items():
        if "median" in figure and ("of" in figure or "target" in figure):
            kinds[name if "of" in figure else name.rpartition("/")[2]].append(name)
    for kind, names in kinds.items():
        if len(names) <= _FOLDED:
            yield from (_row(name, figures[name]) for name in names)
        else:
            sign = -1 if figures[names[0]]["better"] == "higher" else 1
            worst = max(names, key=lambda name: sign * figures[name]["median"])
            yield _row(f"{kind}, the worst of {len(names)}: {worst}", figures[worst])


def _row(name: str, figure: Mapping[str, Any]) -> str:
    unit = "" if figure["unit"] == "ratio" else f" {figure['unit']}"
    interval = "none" if len(figure["samples"]) == 1 else "{:.3g} .. {:.3g}".format(*figure["interval_95"])
    target = figure.get("target")
    bound = "" if target is None else f"{'>=' if target['at_least'] else '<='} {target['bound']:g}"
    found, verdict = f"{figure['median']:.3g}{unit} ({len(figure['samples'])})", figure.get("verdict", "")
    return f"| {name} | {found} | {interval} | {bound} | {verdict} |"


def _curve(curve: Mapping[str, Any]) -> str:
    costs = ", ".join(f"{point['size']:g}: {point['median']:.3g}" for point in curve["points"])
    exponent = "" if curve["exponent"] is None else f", exponent {curve['exponent']:.2f}"
    return f"{curve['unit']} by {curve['axis']}: {costs} ({curve['growth']}{exponent})"


if __name__ == "__main__":
    refresh(README, RESULTS)
