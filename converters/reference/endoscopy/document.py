"""Write what the evaluation found: evaluation.json and README.md here, thresholds and figures into the cards."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.reference.endoscopy.cases import Case
from converters.reference.endoscopy.figures import Chosen, by_kind, by_size, figures
from converters.reference.endoscopy.samples import (
    DETECTOR,
    INFORMATIVE,
    SEGMENTER,
    SMALL_DETECTOR,
    TEST,
    TRAINING,
    VALIDATION,
    Split,
)
from converters.reference.samples import ENGINES
from edge_runtime.engines.card import CARD_FILE, Metric, read_card

HERE = Path(__file__).parent
RESULTS_FILE, README_FILE = "evaluation.json", "README.md"
COMMAND = "python -m converters.reference evaluate --of endoscopy"
THRESHOLDS = {INFORMATIVE: "probability", DETECTOR: "score", SMALL_DETECTOR: "small_score", SEGMENTER: "outline"}
_MARK = f"<!-- figures: written by {COMMAND} -->"
_TITLES = {
    INFORMATIVE: "Informative or not",
    DETECTOR: "Detector",
    SMALL_DETECTOR: "Small detector",
    SEGMENTER: "Segmenter, in true boxes",
}


def results(cases: Sequence[Case], chosen: Chosen) -> dict[str, Any]:
    """All figures as JSON-ready data."""
    sizes = by_size(cases, chosen)
    return {
        "data": _data(cases),
        "command": COMMAND,
        "thresholds": dataclasses.asdict(chosen),
        "engines": {name: [dataclasses.asdict(m) for m in rows] for name, rows in figures(cases, chosen).items()},
        "by_kind": [dataclasses.asdict(group) for group in by_kind(cases, chosen)],
        "by_size": {key: [dataclasses.asdict(group) for group in groups] for key, groups in sizes.items()},
    }


def write(found: dict[str, Any]) -> None:
    """Write every document."""
    (HERE / RESULTS_FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    readme = HERE / README_FILE
    before = readme.read_text(encoding="utf-8").split(_MARK)[0]
    readme.write_text(f"{before}{_MARK}\n\n{markdown(found)}", encoding="utf-8")
    for name, key in THRESHOLDS.items():
        card = ENGINES / name / CARD_FILE
        text = re.sub(r"threshold: \S+", f"threshold: {found['thresholds'][key]}", card.read_text(encoding="utf-8"))
        text = text.split("\nevaluation:")[0].rstrip("\n")
        card.write_text(f"{text}\n{_evaluation(found, name)}", encoding="utf-8")
        read_card(card)


def _data(cases: Sequence[Case]) -> str:
    def seeds(split: Split) -> str:
        return f"{split.first_seed} to {split.first_seed + split.patients - 1}"

    informative = sum(case.informative for case in cases)
    polyps = sum(len(case.polyp_shares) for case in cases)
    patients = len({case.patient for case in cases})
    return (
        f"{len(cases)} computed frames of {patients} phantoms, {informative} informative with {polyps} polyps (seeds "
        f"{seeds(TEST)}); trained on seeds {seeds(TRAINING)}, thresholds chosen on seeds {seeds(VALIDATION)}"
    )


def _evaluation(found: dict[str, Any], name: str) -> str:
    lines = ["evaluation:", f'  data: "{found["data"]}"', f'  command: "{COMMAND}"', "  metrics:"]
    for row in found["engines"][name]:
        given = ", ".join(f"{key}: {value}" for key, value in row.items() if value is not None)
        lines.append(f"    - {{{given}}}")
    return "\n".join(lines) + "\n"


def markdown(found: dict[str, Any]) -> str:
    """The tables."""
    chosen = found["thresholds"]
    lines = [
        "## Figures",
        "",
        f"On {found['data']}.",
        "In brackets 95 % intervals: Wilson's for shares, else a bootstrap over phantoms. Boxes and outlines are those",
        "of informative frames. A box counts as found at an IoU of 0.1, with `_50` of 0.5.",
        "",
        "The plain methods beside them, with thresholds chosen on the same validation phantoms: the deviation of the",
        f"Laplacian above {chosen['sharpness']:.3g} of frames whose share of red is above {chosen['redness']:g};",
        "compact parts whose share of red differs from that around them by more than",
        f"{chosen['box_level']:g} deviations, where it is neither dark nor glare; what hangs together with the middle",
        f"of the box and is within {chosen['colour_level']:g} of its colour.",
    ]
    for name, title in _TITLES.items():
        lines += ["", f"### {title}", "", "| figure | networks | plain method |", "|---|---|---|"]
        lines += [_row(Metric(**row)) for row in found["engines"][name]]
    for title, rows in (
        ("Frames told rightly, by kind", found["by_kind"]),
        ("Polyps found by a box, by the share of the picture", found["by_size"]["found"]),
        ("Dice in the true box, by the share of the picture", found["by_size"]["dice"]),
    ):
        lines += ["", f"### {title}", "", "| of | count | networks | plain method |", "|---|---|---|---|"]
        for row in rows:
            lines.append(f"| {row['name']} | {row['count']} | {_number(row['network'])} | {_number(row['baseline'])} |")
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    interval = "" if metric.low is None else f" ({_number(metric.low)} to {_number(metric.high)})"
    return f"| {metric.name} | {_number(metric.value)}{interval} | {_number(metric.baseline)} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
