"""A child process that answers each line of JSON with one."""

import sys

import pytest

from benchmarks.lines import LineProcess
from benchmarks.record import BenchFailed

CHILD = """
from benchmarks.lines import answer_lines
answer_lines(lambda asked: {"sum": asked["a"] + asked["b"]})
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    (tmp_path / "adds.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    with LineProcess("adding", "adds", [], tmp_path / "log") as process:
        yield process


def test_each_request_has_its_answer(child):
    assert [child.ask({"a": 1, "b": number}) for number in (2, 3)] == [{"sum": 3}, {"sum": 4}]


def test_a_process_that_has_ended_is_told_with_its_last_words(child):
    for _ in range(2):
        with pytest.raises(BenchFailed, match=r"(?s)the adding process has ended: .*KeyError: 'b'"):
            child.ask({"a": 1})
