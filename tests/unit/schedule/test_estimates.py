"""What a stage is expected to need follows what it took lately, and forgets a stall."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.schedule.estimates import Estimates, study_estimates


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def made(**options):
    clock = Clock()
    return Estimates(clock=clock, **options), clock


def feed(estimates, clock, values, every=0.04, variant=0, regions=1):
    for value in values:
        clock.now += every
        estimates.observe("detect", variant, regions, value)


def seconds(estimates, regions=1, variant=0):
    return estimates.of("detect", variant, regions).seconds


def test_nothing_known_is_no_time_and_no_sample():
    estimates, _ = made()
    assert (seconds(estimates), estimates.of("detect", 0).samples) == (0.0, 0)
    assert estimates.observe("detect", 0, 1, 0.1) is None


def test_the_passport_counts_until_something_was_observed():
    estimates, _ = made()
    estimates.expect("detect", 0, 0.5)
    assert seconds(estimates) == 0.5
    assert estimates.observe("detect", 0, 1, 0.1) == pytest.approx(0.2)
    assert seconds(estimates) == pytest.approx(0.1)


@given(st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=60))
def test_the_estimate_is_one_of_the_times_seen_and_at_least_their_median(values):
    estimates, clock = made(window_seconds=1000.0)
    feed(estimates, clock, values)
    ordered = sorted(values)
    assert seconds(estimates) in ordered
    assert seconds(estimates) >= ordered[(len(ordered) - 1) // 2] or len(values) < 3


@given(st.lists(st.floats(0.009, 0.011), min_size=2, max_size=100), st.floats(0.1, 1e6), st.integers(0, 100))
def test_a_single_outlier_does_not_dominate(values, outlier, place):
    estimates, clock = made()
    place %= len(values) + 1
    feed(estimates, clock, [*values[:place], outlier, *values[place:]])
    assert seconds(estimates) <= 0.011


def test_it_is_a_high_quantile():
    estimates, clock = made(window_seconds=1000.0)
    values = [k / 1000 for k in range(1, 201)]
    random.Random(1).shuffle(values)
    feed(estimates, clock, values)
    assert seconds(estimates) == pytest.approx(0.190)


def test_a_slow_down_is_noticed_within_three_runs():
    estimates, clock = made()
    feed(estimates, clock, [0.01] * 150)
    feed(estimates, clock, [0.1] * 3)
    assert seconds(estimates) == 0.1


def test_after_a_stall_it_comes_down_within_the_window():
    estimates, clock = made(window_seconds=5.0)
    feed(estimates, clock, [0.1] * 75)
    feed(estimates, clock, [0.01] * 126)
    assert seconds(estimates) == 0.01


def test_memory_is_bounded_in_number():
    estimates, clock = made(remembered=50)
    feed(estimates, clock, [0.1] * 50, every=0.001)
    feed(estimates, clock, [0.01] * 50, every=0.001)
    assert estimates.of("detect", 0).samples == 50
    assert seconds(estimates) == 0.01


def test_a_stage_that_runs_rarely_keeps_its_latest_runs():
    estimates, clock = made()
    feed(estimates, clock, [0.02, 0.03, 0.04], every=60.0)
    clock.now += 3600
    assert estimates.of("detect", 0).samples == 3
    assert seconds(estimates) == 0.03


@given(st.integers(1, 64), st.integers(1, 64))
def test_more_regions_are_never_expected_to_take_less_than_an_unseen_number_scaled_down(seen, asked):
    estimates, clock = made()
    feed(estimates, clock, [0.01] * 3, regions=seen)
    assert seconds(estimates, asked) <= seconds(estimates, asked + 1)
    assert seconds(estimates, seen) == 0.01


def test_regions_are_remembered_in_buckets_and_scaled_from_the_nearest_smaller_one():
    estimates, clock = made()
    feed(estimates, clock, [0.01] * 3, regions=1)
    feed(estimates, clock, [0.04] * 3, regions=3)
    assert [seconds(estimates, n) for n in (0, 1, 3, 4, 5, 8)] == [0.01, 0.01, 0.04, 0.04, 0.08, 0.08]
    assert seconds(estimates, 2) == 0.02
    assert estimates.of("detect", 0, 8).samples == 0


def test_a_passport_is_scaled_by_regions():
    estimates, _ = made()
    estimates.expect("detect", 0, 0.01)
    assert seconds(estimates, 4) == pytest.approx(0.04)


def test_variants_and_stages_are_apart():
    estimates, clock = made()
    feed(estimates, clock, [0.01] * 3, variant=0)
    feed(estimates, clock, [0.5] * 3, variant=1)
    assert (seconds(estimates), seconds(estimates, variant=1)) == (0.01, 0.5)
    assert estimates.of("segment", 0).samples == 0


def test_a_probe_is_offered_when_nothing_was_observed_for_a_second():
    estimates, clock = made()
    feed(estimates, clock, [0.1] * 3)
    assert not estimates.of("detect", 0).probe
    clock.now += 0.99
    assert not estimates.of("detect", 0).probe
    clock.now += 0.02
    assert estimates.of("detect", 0).probe


def test_after_a_probe_was_granted_there_is_no_other_until_the_time_has_passed_again():
    estimates, clock = made()
    feed(estimates, clock, [0.1] * 3)
    clock.now += 1.01
    estimates.tried("detect", 0, 1)
    assert not estimates.of("detect", 0).probe
    clock.now += 1.01
    assert estimates.of("detect", 0).probe


def test_a_probe_that_was_faster_replaces_what_was_known():
    estimates, clock = made()
    feed(estimates, clock, [0.1] * 50)
    clock.now += 1.01
    estimates.tried("detect", 0, 1)
    estimates.observe("detect", 0, 1, 0.01)
    assert seconds(estimates) == 0.01


def test_probes_of_a_stage_that_stays_slow_become_rare_and_are_frequent_again_once_it_runs():
    estimates, clock = made()
    feed(estimates, clock, [0.1] * 50)
    granted = []
    for _ in range(6000):
        clock.now += 0.01
        if estimates.of("detect", 0).probe:
            granted.append(clock.now)
            estimates.tried("detect", 0, 1)
            estimates.observe("detect", 0, 1, 0.1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(granted)]
    assert gaps == pytest.approx([2, 4, 8, 16, 16], abs=0.05)
    estimates.observe("detect", 0, 1, 0.01)
    clock.now += 1.01
    assert estimates.of("detect", 0).probe


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=50), st.booleans())
def test_probes_are_granted_at_most_once_in_probe_seconds(waits, observed):
    estimates, clock = made()
    estimates.expect("detect", 0, 1.0)
    granted = []
    for wait in waits:
        clock.now += wait
        if estimates.of("detect", 0).probe:
            granted.append(clock.now)
            estimates.tried("detect", 0, 1)
            if observed:
                estimates.observe("detect", 0, 1, 1.0)
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(granted))


def test_the_error_is_the_time_by_the_estimate_before():
    estimates, clock = made()
    feed(estimates, clock, [0.01] * 5)
    assert estimates.observe("detect", 0, 1, 0.03) == pytest.approx(3.0)


def test_threads_may_observe_and_ask_at_once():
    estimates = Estimates(window_seconds=0.001, remembered=5)

    def work(seed):
        rng = random.Random(seed)
        for _ in range(2000):
            estimates.observe("detect", 0, rng.randint(1, 8), rng.random())
            assert 0 <= estimates.of("detect", 0, rng.randint(1, 8)).seconds <= 8

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_a_study_that_skipped_a_slow_stage_tries_it_again_only_after_minutes():
    clock = Clock()
    estimates = study_estimates(clock)
    feed(estimates, clock, [90.0] * 3, every=60.0)
    assert estimates.of("detect", 0).samples == 3
    clock.now += 500
    assert not estimates.of("detect", 0).probe
    clock.now += 101
    assert estimates.of("detect", 0).probe


@pytest.mark.parametrize("wrong", [{"quantile": 0.0}, {"remembered": 2}, {"window_seconds": 0.0}, {"probe_seconds": 0}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ValueError, match="window"):
        Estimates(**wrong)
