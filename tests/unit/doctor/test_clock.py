"""The clock, with what makes each check fail."""

import calendar
import os
import time

import pytest
from support.spools import make_config

from edge_runtime.doctor.check import Outcome, Site
from edge_runtime.doctor.clock import examine_clock, kernel_is_synchronized, plausibility, synchronization


def at(year):
    return float(calendar.timegm((year, 6, 1, 12, 0, 0)))


@pytest.mark.parametrize(
    ("now", "newest", "outcome"),
    [
        (at(1970), 0.0, Outcome.FAIL),
        (at(2025), 0.0, Outcome.FAIL),
        (at(2026), 0.0, Outcome.OK),
        (at(2099), 0.0, Outcome.OK),
        (at(2100), 0.0, Outcome.FAIL),
        (at(2027), at(2027) + 80_000, Outcome.OK),
        (at(2027), at(2027) + 90_000, Outcome.FAIL),
    ],
)
def test_a_clock_of_another_time_is_a_fail(now, newest, outcome):
    assert plausibility(now, newest).outcome is outcome


def test_a_clock_that_nothing_sets_is_warned_of():
    assert [synchronization(state).outcome for state in (True, False, None)] == [
        Outcome.OK, Outcome.WARN, Outcome.WARN,
    ]  # fmt: skip


def test_the_kernel_can_be_asked():
    assert kernel_is_synchronized() in (True, False, None)


def test_a_configuration_from_the_future_shows_a_clock_that_went_back(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("")
    site = Site(make_config(tmp_path), file)
    assert {check.what: check.outcome for check in examine_clock(site)}["clock"] is Outcome.OK
    os.utime(file, (time.time() + 200_000,) * 2)
    assert {check.what: check.outcome for check in examine_clock(site)}["clock"] is Outcome.FAIL


def test_the_offset_of_the_zone_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "XYZ-5:30")
    time.tzset()
    checks = {check.what: check.found for check in examine_clock(Site(make_config(tmp_path), tmp_path))}
    monkeypatch.delenv("TZ")
    time.tzset()
    assert "XYZ, UTC+0530" in checks["time zone"]
