"""The report's text: the verdict first, and what is true of this build."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reports import build_report

from converters.report import markdown
from converters.report.model import Attempt, Figure, LayerRow, MetricRow
from converters.report.text import code, escape, shortened, without_folders

HOSTILE = "a|b<script>`x`\n# c *d* _e_ [f](g) $h$ \u202e\x1b[31m"
ROW = MetricRow("auc", Figure(0.9, 0.8, 1.0, 0.9), Figure(0.85, 0.7, 0.95, 0.85), 0.01, None, False)


def verdict(report):
    return markdown(report).splitlines()[2]


def test_the_verdict_comes_first_and_says_what_it_took():
    assert verdict(build_report()) == (
        "**Passed.** Every figure on 96 labelled samples is within the card's tolerance of FP32's. "
        "For that, 2 of 24 layers stayed in FP32. There is 1 warning at the end."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": (ROW,), "attempts": ()}, "**Not passed:** auc on 96 labelled samples."),
        ({"gated": False}, "**No gate.** Task metrics were measured, and the card names no tolerance"),
        ({"metrics": (), "attempts": ()}, "Nothing here says how well INT8 answers compared with FP32."),
        ({"metrics": (), "attempts": (), "precision": "fp32", "raised": (), "warnings": ()},
         "**Not measured on labelled samples.** FP32 is compared with its checkpoint alone"),
        ({"runs_here": False, "latency": ()}, "The plan itself has not run: no GPU was used"),
    ],
)  # fmt: skip
def test_a_verdict_claims_no_more_than_was_measured(changes, words):
    assert words in verdict(build_report(**changes))


def test_the_lowest_figure_allowed_is_the_stricter_of_both_bounds():
    allowed = dataclasses.replace(ROW, at_least=0.5).lowest_allowed, dataclasses.replace(ROW, at_least=0.95)
    assert allowed[0] == pytest.approx(0.89) and allowed[1].lowest_allowed == 0.95
    assert dataclasses.replace(ROW, tolerance=None).lowest_allowed is None


def test_an_fp32_engine_is_not_compared_with_itself():
    text = markdown(build_report(precision="fp32", raised=(), attempts=(), layers=()))
    assert "| metric | FP32 | worst sample | lowest allowed | verdict |" in text
    assert "within the card's tolerance." in text and "lower by" not in text


def test_layers_are_listed_from_numbers_that_are_none_to_no_error_at_all():
    rows = (LayerRow("same", "Relu", None, 0.0), LayerRow("bad", "Conv", -3.0, 9.0), LayerRow("nan", "Exp", None, None))
    lines = markdown(build_report(layers=rows)).splitlines()
    first = lines.index("| `nan` | Exp | not finite | not finite | INT8 |")
    assert lines[first + 1 : first + 3] == [
        "| `bad` | Conv | -3.0 dB | 9 | INT8 |",
        "| `same` | Relu | equal | 0 | INT8 |",
    ]


def test_of_many_layers_the_worst_are_listed():
    text = markdown(build_report(130))
    assert "The 15 worst of 130 tensors" in text and text.count("Conv_output_0`") == 15


def test_each_try_of_the_gate_is_listed_with_as_many_figures_as_there_are_metrics():
    assert "| 0 | 0.94 | 0.8 | 3 | - |\n| 2 | 0.9611 | 0.88 | 0 | passed |" in markdown(build_report())
    with pytest.raises(ValueError, match="1 figures for 2 metrics"):
        markdown(build_report(attempts=(Attempt(0, False, (0.9,)), Attempt(1, True, (0.9,)))))


def test_only_plots_that_were_drawn_are_shown():
    assert "](report-size.svg)" in markdown(build_report(), {"report-size.svg"})
    assert ".svg" not in markdown(build_report(), frozenset())


def test_hostile_names_break_neither_tables_nor_text():
    report = build_report(name=HOSTILE, layers=(LayerRow(HOSTILE, HOSTILE, 1.0, 1.0),), warnings=(HOSTILE,))
    text = markdown(report)
    assert (
        "\x1b" not in text
        and "\u202e" not in text
        and not re.search(r"(?<!\\)<script", text.replace(code(HOSTILE), ""))
    )
    table = next(line for line in text.splitlines() if code(HOSTILE) in line)
    assert len(re.findall(r"(?<!\\)\|", table)) == 6
    assert "# c" not in [line[:3] for line in text.splitlines()]


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text):
    found = escape(text)
    assert len(found.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[\]<>|]", found)


@given(st.text())
def test_a_code_span_ends_where_it_should(text):
    found = code(text)
    fence = re.match("`+", found)[0]
    assert found.endswith(fence) and "\n" not in found
    inner = found[len(fence) : -len(fence)]
    assert fence not in re.findall("`+", inner) and not re.search(r"(?<!\\)\|", inner)


@given(st.text(max_size=200), st.integers(5, 60))
def test_shortened_text_keeps_both_ends(text, most):
    found = shortened(text, most)
    assert len(found) <= max(most, 0)
    assert found == text or (found[0] == text[0] and found[-1] == text[-1] and "..." in found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/usr/lib", "lib"),
        ("../a/b c", "b c"),
        ("models:/brain/3", "models:/brain/3"),
        ("/layer9/conv/Conv and FP16/INT8", "/layer9/conv/Conv and FP16/INT8"),
        ("'/usr/lib/x' (/tmp/y)", "'x' (y)"),
    ],
)
def test_paths_of_this_machine_become_names_and_others_stay(text, found):
    assert without_folders(text) == found
