"""Checks run on their own: what breaks or hangs is told, and ends no other."""

import threading

import pytest
from support.spools import make_config

from edge_runtime.doctor.check import Check, Outcome, Probe, Site, examine, fail, ok, warn
from edge_runtime.errors import SpoolError


@pytest.fixture
def site(tmp_path):
    return Site(make_config(tmp_path), tmp_path / "site.yaml")


def breaking(_site):
    yield ok("first", "well")
    raise SpoolError("the spool is upside down")


def quoting(_site):
    yield from ()
    raise ValueError("Muster^Eva")


def test_a_probe_that_raises_is_a_fail_and_the_others_go_on(site):
    found = list(examine(site, [Probe("broken", 5, breaking), Probe("next", 5, lambda _: [ok("next", "well")])]))
    assert [(check.outcome, check.what) for check in found] == [
        (Outcome.OK, "first"), (Outcome.FAIL, "broken"), (Outcome.OK, "next"),
    ]  # fmt: skip
    assert "upside down" in found[1].found and found[1].todo


def test_what_a_library_says_is_not_repeated(site):
    (check,) = examine(site, [Probe("quoting", 5, quoting)])
    assert check.outcome is Outcome.FAIL
    assert "Muster" not in str(check) and "ValueError" in str(check)


def test_a_probe_that_does_not_end_is_a_fail_and_the_others_go_on(site):
    over = threading.Event()

    def hanging(_site):
        yield ok("before", "well")
        over.wait(20)
        yield ok("after", "well")

    def ending(_site):
        yield ok("next", "well")
        over.set()

    found = list(examine(site, [Probe("hanging", 0.2, hanging), Probe("next", 5, ending)]))
    assert [check.what for check in found] == ["before", "hanging", "next"]
    assert found[1].outcome is Outcome.FAIL


def test_what_is_not_ok_says_what_to_do():
    for outcome in (Outcome.WARN, Outcome.FAIL):
        with pytest.raises(ValueError, match="what to do"):
            Check(outcome, "disk", "slow")
    with pytest.raises(ValueError, match="what to do"):
        Check(Outcome.OK, "disk", "fast", "nothing")


def test_a_check_is_one_line_that_begins_with_its_outcome():
    lines = [str(ok("disk", "fast")), str(warn("disk", "slow", "buy")), str(fail("disk", "gone", "look"))]
    assert [line.split()[0] for line in lines] == ["ok", "warn", "FAIL"]
    assert [line.partition(" -> ")[2] for line in lines] == ["", "buy", "look"]
    assert not any("\n" in line for line in lines)
