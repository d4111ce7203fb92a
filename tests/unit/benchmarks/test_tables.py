"""The table of results is made from the results."""

import json

import pytest

from benchmarks.record import Accelerator, Record, table
from benchmarks.statistics import Target
from benchmarks.tables import BEGIN, END, README, RESULTS, refresh, section, tables

MACHINE = {"device": "CPU: Tested 9000", "date": "2026-01-02T03:04:05+00:00", "git_commit": "abcdef0123"}


def document(**changed):
    record = Record({"name": "tried"}, reduced=False)
    for value in (2.0, 2.2, 1.8):
        record.add("edge", value, "ms", higher_is_better=False, target=Target(3.0, at_least=False))
        record.add("peer", 1.0, "ms", higher_is_better=False)
        record.add_ratio("edge : peer", ("edge", "peer"), higher_is_better=False)
        for number in range(6):
            record.add(f"part {number}/growth", value + number, "MB", higher_is_better=False,
                       target=Target(9.0, at_least=False))  # fmt: skip
    record.problem("the machine was not quiet")
    return {**record.document("complete", MACHINE), **changed}


def test_a_section_has_ratios_targets_and_problems_and_no_other_figure():
    text = section(document())
    assert "CPU: Tested 9000; 2026-01-02, commit abcdef0" in text
    assert "| edge | 2 ms (3) | 1.8 .. 2.2 | <= 3 | met |" in text
    assert "| edge : peer | 2 (3) | 1.8 .. 2.2 |  |  |" in text
    assert "| peer |" not in text
    assert "- problem: the machine was not quiet" in text


def test_of_many_figures_of_one_kind_the_worst_is_quoted():
    text = section(document())
    assert text.count("growth |") == 1
    assert "| growth, the worst of 6: part 5/growth | 7 MB (3)" in text


def test_figures_of_processor_and_accelerator_are_in_tables_of_their_own():
    record = Record({"name": "both"}, reduced=False)
    for device in Accelerator:
        record.add(f"on {device.value}", 1.0, "ms", higher_is_better=False, target=Target(2.0, at_least=False),
                   device=device)  # fmt: skip
    text = section(record.document("complete", MACHINE))
    assert text.count("|---|---|---|---|---|") == 2
    assert text.index("on cpu") < text.rindex("|---|---") < text.index("on gpu")


@pytest.mark.parametrize("changed", [{"state": "interrupted"}, {"reduced": True}])
def test_what_did_not_end_or_is_reduced_is_never_quoted(tmp_path, changed):
    (tmp_path / "tried.json").write_text(json.dumps(document(**changed)))
    assert tables(tmp_path) == ""


def test_the_table_is_written_between_its_marks(tmp_path):
    (tmp_path / "tried.json").write_text(json.dumps(document()))
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    refresh(readme, tmp_path)
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n### `tried`") and text.endswith(f"{END}\nafter\n") and "old" not in text
    refresh(readme, tmp_path)
    assert readme.read_text() == text


def test_a_readme_without_marks_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(ValueError, match="results: begin"):
        refresh(tmp_path / "README.md", tmp_path)


def test_the_readme_quotes_exactly_the_results_that_are_kept():
    assert len(tables(RESULTS)) > 1000, "there are results"
    assert f"{BEGIN}\n{tables(RESULTS)}\n{END}" in README.read_text()


def test_one_sample_has_no_interval():
    record = Record({"name": "once"}, reduced=False)
    record.add("edge", 2.0, "ms", higher_is_better=False, target=Target(3.0, at_least=False))
    document = record.document("complete", MACHINE)
    assert "| edge | 2 ms (1) | none | <= 3 |" in section(document)
    assert "none (1 sample)" in table(document)


def test_loads_that_are_too_short_for_loadgen_are_told_together():
    problems = [f"{name}/edge: shorter than LoadGen's {what}" for name in "ab" for what in ("60 s", "1,024 queries")]
    text = section(document(problems=[*problems, "the machine was not quiet"]))
    assert text.count("- problem:") == 2
    assert "- problem: 2 loads are shorter than LoadGen's" in text and "the machine was not quiet" in text
