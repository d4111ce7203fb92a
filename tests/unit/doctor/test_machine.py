"""The computer: each check with what makes it warn."""

import pytest
from support.spools import make_config

from edge_runtime.doctor import machine
from edge_runtime.doctor.check import Outcome, Site
from edge_runtime.doctor.machine import (
    available_bytes,
    available_bytes_here,
    cgroup_processors,
    examine_machine,
    memory_check,
    packages_check,
    processor_check,
    python_check,
    unit_check,
)

MEMINFO = "MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\nHugePages_Total:       0\n"


@pytest.mark.parametrize(("text", "limit"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("", None)])
def test_the_limit_of_processors_is_that_of_the_control_group(text, limit):
    assert cgroup_processors(text) == limit


@pytest.mark.parametrize(
    ("cores", "limit", "threads", "outcome"),
    [(4, None, 0, Outcome.OK), (4, None, 4, Outcome.OK), (4, None, 5, Outcome.WARN), (4, 1.5, 2, Outcome.WARN),
     (1, None, 0, Outcome.WARN), (8, 2.0, 2, Outcome.OK)],
)  # fmt: skip
def test_threads_and_cores_fit(cores, limit, threads, outcome):
    assert processor_check(cores, limit, threads).outcome is outcome


def test_memory_is_what_the_system_or_the_control_group_leaves():
    assert available_bytes(MEMINFO, "max\n") == 8_192_000_000
    assert available_bytes(MEMINFO, "1000000000\n") == 1_000_000_000
    assert available_bytes_here() > 0
    assert memory_check(1_999_999_999).outcome is Outcome.WARN
    assert memory_check(2_000_000_000).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("systemd", "unit", "outcome"),
    [(False, None, Outcome.WARN), (True, None, Outcome.WARN), (True, "[Service]\nType=notify\n", Outcome.WARN),
     (True, "[Service]\nWatchdogSec=30\n", Outcome.OK)],
)  # fmt: skip
def test_something_starts_the_daemon_and_watches_it(systemd, unit, outcome):
    assert unit_check(systemd, unit).outcome is outcome


def test_a_python_that_is_not_tested_is_warned_of():
    assert [python_check((3, minor)).outcome for minor in (9, 10, 14, 15)] == [
        Outcome.WARN, Outcome.OK, Outcome.OK, Outcome.WARN,
    ]  # fmt: skip


def test_a_missing_library_is_a_fail():
    assert packages_check({"numpy": "2.0", "pydicom": None}).outcome is Outcome.FAIL
    assert packages_check({"numpy": "2.0"}).outcome is Outcome.OK


def test_the_libraries_of_video_are_shown_where_they_are_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_version", lambda name: None if name == "paho-mqtt" else "1.0")
    found = {check.what: check for check in examine_machine(Site(make_config(tmp_path), tmp_path))}
    check = found["libraries"]
    assert check.outcome is Outcome.OK and "av 1.0" in check.found and "paho" not in check.found
