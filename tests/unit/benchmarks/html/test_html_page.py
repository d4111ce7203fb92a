"""The page of a result: what it holds, and that nothing in it is anything but text."""

import copy
import dataclasses
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from support.bench_results import HOSTILE, PROVENANCE, budget, document, latencies

from benchmarks.cli import main
from benchmarks.html import latency, page, scaling
from benchmarks.html.elements import table
from benchmarks.html.latency import steps
from benchmarks.html.model import Curve, Point, parse
from benchmarks.html.style import CSS
from benchmarks.record import Mode, Record
from benchmarks.result_file import NotAResult
from benchmarks.statistics import Interval

pytestmark = pytest.mark.slow

RESULTS = sorted((Path(__file__).parents[4] / "benchmarks" / "results").glob("*.json"))
VOID = {"meta", "link", "br", "hr", "img"}
SECTIONS = [
    "verdict", "problems", "acceptance", "figures-cpu", "figures-gpu", "latency-cpu", "latency-gpu", "timelines",
    "stages", "deadlines", "scaling", "provenance",
]  # fmt: skip


class Outline(HTMLParser):
    """Tags, attributes and text of a page; every tag must be closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.ids = [], [], [], []
        self.text, self.by_section, self._section = "", {}, ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for key, value in attrs if key == "id"]
        if tag == "section":
            self._section = dict(attrs)["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data + " "
            self.by_section[self._section] = self.by_section.get(self._section, "") + data + " "


def shown(made):
    return Outline(page(json.loads(json.dumps(made)), "result.json"))


@pytest.fixture(scope="module")
def made():
    """A result as it is read from a file; whoever changes it, changes a copy."""
    return json.loads(json.dumps(document(count=300)))


@pytest.fixture(scope="module")
def text(made):
    return page(made, "result.json")


@pytest.fixture(scope="module")
def whole(text):
    return Outline(text)


def bare(**changed):
    """A result with nothing but a figure, which is quickly drawn."""
    made = Record({"name": "small", "kind": "ingest"}, reduced=False)
    made.add("speed", 1.0, "MB/s", higher_is_better=True)
    return {**made.document("complete", PROVENANCE), **changed}


def test_every_section_is_there_and_problems_come_before_any_figure(whole):
    assert [one for one in whole.ids if one in SECTIONS] == SECTIONS
    text = whole.text
    assert text.index("load average 1.25") < text.index("Acceptance") < text.index("Figures on the CPU")
    assert "PASS: 1 of 1 budgets kept" in text and PROVENANCE["device"] in text and "0123456789abcdef" in text


def test_identifiers_are_unique_and_every_reference_is_to_one_of_them(whole):
    assert len(set(whole.ids)) == len(whole.ids)
    pointers = [value[1:] for key, value in whole.attributes if key == "href" and value.startswith("#")]
    clips = [value[5:-1] for key, value in whole.attributes if key == "clip-path"]
    assert clips and set(pointers) | set(clips) <= set(whole.ids)


def test_nothing_is_loaded_and_nothing_runs(whole):
    assert not {"script", "img", "iframe", "object", "a", "form"} & set(whole.tags)
    for key, value in whole.attributes:
        assert not key.startswith("on") and key != "src"
        if key == "href":
            assert value.startswith("#") or value == "data:,"
    policy = dict(whole.attributes)["content"]
    assert policy.startswith("default-src 'none'")


def test_figures_of_processor_and_accelerator_are_in_sections_of_their_own(whole):
    assert "half load/edge on the card" in whole.by_section["figures-gpu"]
    assert "card" not in whole.by_section["figures-cpu"] and "edge : bare" not in whole.by_section["figures-gpu"]
    assert "server" in whole.by_section["latency-gpu"] and "server" not in whole.by_section["latency-cpu"]


def test_a_mode_has_plots_of_its_own_and_says_which_it_is(whole):
    drawn = [value for key, value in whole.attributes if key == "aria-label" and value.startswith("Latencies")]
    assert drawn == [
        "Latencies of half load, mode fixed-rate, on the CPU: edge, bare",
        "Latencies of half load, mode single-stream, on the CPU: serial",
        "Latencies of half load, mode server, on the GPU: card",
    ]
    assert "deadline, pipelines.endoscopy.deadline_seconds, 50 ms" in whole.by_section["latency-cpu"]


def test_what_cannot_be_said_is_said_to_be_withheld(whole):
    text = whole.by_section["latency-cpu"]
    assert "withheld: fewer than 10,000 samples" in text and "too few samples for an interval" in text
    assert "3, in no percentile" in text  # unanswered queries


def test_growth_is_told_in_words_and_by_a_symbol(whole):
    text = " ".join(whole.by_section["scaling"].split())
    assert "\u2717 superlinear a unit of work costs more" in text
    assert "\u2713 linear a unit of work costs the same" in text
    assert "streams/bare: SUPERLINEAR" in text  # in the plot


def test_the_same_result_gives_the_same_page_whatever_the_users_settings_are(made, text):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None, "svg.fonttype": "path"}):
        assert page(made, "result.json") == text


def test_names_are_text_wherever_they_come_from():
    made = Record({"name": HOSTILE}, reduced=False)
    made.add(HOSTILE, 1.0, HOSTILE, higher_is_better=True)
    made.add_latencies(f"_{HOSTILE}/_e\u00e9\u4e2d$x^$", Mode.OFFLINE, latencies(30))
    made.add_stages(HOSTILE, {"_$\\frac$": [0.1], "\x00\ud800\n<b>": [0.2]})
    made.add_timeline(HOSTILE, [])
    made.add_deadline(HOSTILE, None, 1, 1, HOSTILE)
    made.add_budget(budget("fail", name=HOSTILE, why=HOSTILE))
    made.add_point(HOSTILE, HOSTILE, 1, 1.0, HOSTILE)
    made.problem(HOSTILE)
    made.notes.append(HOSTILE)
    made.checks[HOSTILE] = {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}
    found = shown(made.document("failed", {**PROVENANCE, "device": HOSTILE, "git_commit": HOSTILE}))
    assert not {"script", "img", "b"} & set(found.tags)
    assert found.text.count(HOSTILE) >= 12


def test_what_is_missing_or_went_wrong_is_at_the_top_and_never_good():
    for state, reduced, headline, words in (
        ("interrupted", False, "INTERRUPTED: what came later", "interrupted: what was measured until then"),
        ("failed", False, "THE RUN FAILED: no engine", "failed: what was measured until then"),
        ("complete", True, "NOT JUDGED", "A reduced run: it proves only that the parts work"),
    ):
        made = bare(state=state, reduced=reduced, budgets=[dataclasses.asdict(budget())], problems=["no engine", "b"])
        text = shown(made).text
        assert headline in text and "PASS" not in text
        assert text.index(headline) < text.index(words) < text.index("Acceptance")
    text = shown(bare(provenance={})).text
    assert text.split("Acceptance")[0].count("not recorded") == 3


@pytest.mark.parametrize("verdict", ["fail", "too few samples", "no budget"])
def test_a_page_with_a_budget_that_was_not_passed_says_so_in_words(verdict):
    kept = budget(name="memory")
    found = shown(bare(budgets=[dataclasses.asdict(kept), dataclasses.asdict(budget(verdict))]))
    assert verdict in found.by_section["acceptance"]
    assert ("PASS" in found.text) == (verdict == "no budget")
    assert ("FAIL" in found.text) == (verdict == "fail")


def test_a_run_without_budgets_is_said_to_have_none():
    found = shown(bare())
    assert "no targets" in found.text and "PASS" not in found.text and "JUDGED" not in found.text
    assert "acceptance" not in found.ids and "budget" not in found.text


def test_what_has_no_content_has_no_section():
    found = shown(bare(figures={}, checks={}, details={}))
    assert found.ids == ["verdict", "problems", "provenance"]
    assert (
        "none was recorded" not in found.text and "Checks" not in found.text and "targets of its own" not in found.text
    )


def test_one_sample_has_no_interval():
    made = Record({"name": "small"}, reduced=False)
    made.add("one", 1.5, "ms", higher_is_better=False)
    for value in (1.5, 2.5):
        made.add("two", value, "ms", higher_is_better=False)
    made.add_point("curve", "streams", 2, 4.0, "ms")
    made.add_budget(budget(samples=1, interval=(41.0, 41.0)))
    found = shown(made.document("complete", PROVENANCE))
    for part in ("figures-cpu", "scaling", "acceptance"):
        assert found.by_section[part].count("none (1 sample)") == 1, part
    assert "1.5 .. 2.5" in found.by_section["figures-cpu"] and "1.5 .. 1.5" not in found.text


def test_only_a_very_long_word_of_a_heading_may_be_broken():
    short, long = (table([word], [], "") for word in ("share of samples", "x" * 17))
    assert [one.get("class") for made in (short, long) for one in made.iter("th")] == [None, "long"]
    assert "thead th { overflow-wrap: normal; }" in CSS
    assert ".mark { font-weight: 700; overflow-wrap: break-word; }" in CSS


def axes_of(draw, *arguments):
    """What is drawn, and where things are: drawn once, as constrained layout then has placed them."""
    made = Figure(figsize=(8, 4), layout="constrained")
    draw(made, *arguments)
    made.canvas.draw()
    return made.axes[0]


def test_the_names_of_the_systems_do_not_hide_the_deadline(made):
    group = parse(made).latencies[:2]
    axes = axes_of(latency._draw, group, {"deadline": 50.0}, "fixed-rate")
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


@pytest.mark.parametrize("cost", [1.0, 1e-9])
def test_the_topmost_mark_is_within_the_axes(cost):
    points = tuple(Point(size, 3, cost, Interval(cost, cost)) for size in (1.0, 2.0, 4.0))
    axes = axes_of(scaling._draw, [Curve("a", "streams", "ms", points, None, None, "linear")])
    assert axes.transData.transform((1.0, cost))[1] + 6 < axes.get_window_extent().y1


def test_a_time_line_counts_from_its_start(whole):
    assert "ms from the start" in whole.by_section["timelines"] and "arrival" not in whole.by_section["timelines"]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_kept_result_has_a_page(path):
    found = Outline(page(json.loads(path.read_text()), path.name))
    assert {"verdict", "problems", "provenance"} <= set(found.ids)


def test_a_page_of_a_hundred_thousand_latencies_is_small():
    made = Record({"name": "large"}, reduced=False)
    made.add_latencies("load/edge", Mode.SERVER, latencies(100_000))
    text = page(made.document("complete", PROVENANCE), "result.json")
    assert len(text.encode()) < 200_000
    assert "withheld" not in text  # enough for p99.9


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=3000), st.integers(4, 500))
def test_the_steps_of_a_distribution_are_few_and_keep_both_ends(samples, points):
    values, shares = steps(samples, points)
    assert len(values) <= max(points, 1) and values == sorted(values) and shares == sorted(shares)
    assert (values[0], values[-1], shares[-1]) == (min(samples), max(samples), 1.0)
    for value, share in zip(values, shares, strict=True):
        assert sum(one < value for one in samples) / len(samples) <= share
        assert share <= sum(one <= value for one in samples) / len(samples) + 1e-12


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("state",), "done"),
        (("reduced",), "no"),
        (("problems",), None),
        (("provenance",), None),
        (("figures",), []),
        (("figures", "half load/edge", "median"), None),
        (("latencies", "half load/edge", "rounds"), [[float("nan")]]),
        (("latencies", "half load/edge", "mode"), ...),
        (("stages", "half load/edge", "infer", "p99"), "much"),
        (("timelines", 0, "spans", 0, "end_ms"), float("inf")),
        (("deadlines", "half load/edge", "missed"), 10**6),
        (("budgets", 0, "verdict"), "passed"),
        (("budgets", 0, "found"), None),
        (("budgets", 0, "extra"), 1),
        (("curves", "streams/edge", "points", 0, "interval_95"), [1.0]),
    ],
    ids=str,
)
def test_what_is_no_sound_result_is_refused(made, path, value):
    made = copy.deepcopy(made)
    *way, last = path
    place = made
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    with pytest.raises(NotAResult, match="result of edge-bench run"):
        page(made, "result.json")


def test_the_command_writes_the_page_beside_the_result_or_where_it_is_told(tmp_path, capsys):
    result = tmp_path / "out.json"
    result.write_text(json.dumps(bare()))
    assert main(["report", str(result)]) == 0
    assert main(["report", str(result), "--html", str(tmp_path / "other.html")]) == 0
    assert (tmp_path / "out.html").read_text() == (tmp_path / "other.html").read_text()
    assert "out.json, with every raw sample" in (tmp_path / "out.html").read_text()
    assert str(tmp_path / "out.html") in capsys.readouterr().out


def test_the_command_says_what_is_no_result_and_never_overwrites_one(tmp_path, capsys):
    result, text = tmp_path / "out.json", tmp_path / "text.json"
    result.write_text(json.dumps(bare()))
    text.write_text("no JSON")
    (tmp_path / "half.json").write_text(json.dumps({"schema_version": 2, "figures": {}}))
    for name, sentence in (
        ("text.json", "cannot be read"),
        ("none.json", "cannot be read"),
        ("half.json", "'state' is missing"),
    ):
        assert main(["report", str(tmp_path / name)]) == 2
        assert sentence in capsys.readouterr().err
    assert main(["report", str(result), "--html", str(result)]) == 2
    assert json.loads(result.read_text())["state"] == "complete"
    assert main(["report", str(result), "--html", str(tmp_path / "no" / "folder.html")]) == 1
    assert "folder.html" in capsys.readouterr().err


def test_without_matplotlib_the_command_says_what_to_install(tmp_path, capsys, monkeypatch):
    (tmp_path / "out.json").write_text(json.dumps(bare()))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["report", str(tmp_path / "out.json")]) == 1
    assert "install the extra `bench`" in capsys.readouterr().err
