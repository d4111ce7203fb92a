"""Write what the evaluation found: evaluation.json and README.md here, thresholds and figures into the cards."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.reference.cases import Case
from converters.reference.figures import Chosen, Group, by_confounder, by_lesion, figures
from converters.reference.samples import CLASSIFIER, DETECTOR, ENGINES, SEGMENTER, TEST, TRAINING, VALIDATION, Split
from edge_runtime.engines.card import CARD_FILE, Metric, read_card

HERE = Path(__file__).parent
RESULTS_FILE, README_FILE = "evaluation.json", "README.md"
COMMAND = "python -m converters.reference evaluate"
_MARK = "<!-- figures: written by python -m converters.reference evaluate -->"
_TITLES = {CLASSIFIER: "Classifier", DETECTOR: "Detector", SEGMENTER: "Segmenter, in true boxes"}


def results(cases: Sequence[Case], chosen: Chosen) -> dict[str, Any]:
    """All figures as JSON-ready data."""
    return {
        "data": _data(cases),
        "command": COMMAND,
        "thresholds": dataclasses.asdict(chosen),
        "engines": {name: [dataclasses.asdict(m) for m in rows] for name, rows in figures(cases, chosen).items()},
        "by_confounder": _groups(by_confounder(cases, chosen)),
        "by_lesion": _groups(by_lesion(cases, chosen)),
    }


def write(found: dict[str, Any]) -> None:
    """Write every document."""
    (HERE / RESULTS_FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    readme = HERE / README_FILE
    before = readme.read_text(encoding="utf-8").split(_MARK)[0]
    readme.write_text(f"{before}{_MARK}\n\n{markdown(found)}", encoding="utf-8")
    chosen = found["thresholds"]
    for name, threshold in ((CLASSIFIER, chosen["probability"]), (DETECTOR, chosen["score"]),
                            (SEGMENTER, chosen["outline"])):  # fmt: skip
        card = ENGINES / name / CARD_FILE
        text = re.sub(r"threshold: \S+", f"threshold: {threshold}", card.read_text(encoding="utf-8"))
        text = text.split("\nevaluation:")[0].rstrip("\n")
        card.write_text(f"{text}\n{_evaluation(found, name)}", encoding="utf-8")
        read_card(card)


def _data(cases: Sequence[Case]) -> str:
    def seeds(split: Split) -> str:
        return f"{split.first_seed} to {split.first_seed + split.count - 1}"

    positive = sum(case.positive for case in cases)
    lesions = sum(len(case.truth) for case in cases)
    return (
        f"{len(cases)} computed phantoms, {positive} with {lesions} haemorrhages (seeds {seeds(TEST)}); "
        f"trained on seeds {seeds(TRAINING)}, thresholds chosen on seeds {seeds(VALIDATION)}"
    )


def _groups(rows: dict[str, list[Group]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [dataclasses.asdict(group) for group in groups] for name, groups in rows.items()}


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
        "In brackets 95 % intervals: Wilson's for shares, normal for biases, else a bootstrap over phantoms",
        "(`dice_mean`: over haemorrhages). A box counts as found at an IoU of 0.1, with `_50` of 0.5, in three",
        "dimensions. Limits are those of agreement (Bland and Altman).",
        "",
        "The plain method beside it is a threshold in HU inside the skull, blurred, opened; its parts are lesions.",
        "The threshold is chosen for each task on the validation phantoms: "
        f"{chosen['hu_of_presence']:g} HU for the classifier's, with a largest part above {chosen['bright_ml']:.2g} "
        f"ml; {chosen['hu_of_boxes']:g} HU for boxes; {chosen['hu_of_outlines']:g} HU for outlines, "
        f"{chosen['hu_of_outlines_in_boxes']:g} HU within true boxes.",
    ]
    for name, title in _TITLES.items():
        lines += ["", f"### {title}", "", "| figure | networks | plain method |", "|---|---|---|"]
        lines += [_row(Metric(**row)) for row in found["engines"][name]]
    for title, group, key in (
        ("Sensitivity by hard negative", "by_confounder", "sensitivity"),
        ("Specificity by hard negative", "by_confounder", "specificity"),
        ("Haemorrhages found by a box", "by_lesion", "found"),
        ("Dice in the true box", "by_lesion", "dice"),
    ):
        lines += ["", f"### {title}", "", "| of | count | networks | plain method |", "|---|---|---|---|"]
        for row in found[group][key]:
            cells = (
                row["name"].replace("_", " "),
                str(row["count"]),
                _number(row["network"]),
                _number(row["baseline"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    interval = "" if metric.low is None else f" ({_number(metric.low)} to {_number(metric.high)})"
    return f"| {metric.name} | {_number(metric.value)}{interval} | {_number(metric.baseline)} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
