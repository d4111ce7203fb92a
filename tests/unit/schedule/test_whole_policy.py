"""The policy as a whole, in a simulation of sources, lanes and studies: what a site is promised must come out of it."""

import pytest
from support.schedule_simulation import SimulatedSource, SimulatedStage, SimulatedStudy, Simulation

from edge_runtime.schedule.arbiter import RunClass

THREE = (
    SimulatedStage("look", (0.004,), host_seconds=0.0005),
    SimulatedStage("detect", (0.010,), host_seconds=0.0005),
    SimulatedStage("segment", (0.006,), host_seconds=0.0005),
)
"""20 ms of accelerator: one place takes 50 frames a second, two take 100 (an engine of 10 ms runs one at a time)."""


def source(rate, deadline=0.06, stages=THREE, name="tower"):
    return SimulatedSource(name, rate, deadline, stages)


def rate_between(live, start, end):
    return len(live.in_time(start, end)) / (end - start)


@pytest.mark.parametrize("capacity", [1, 2])
@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_at_twice_the_capacity_nearly_all_results_are_in_time_and_nearly_all_capacity_is_used(capacity, spread):
    stages = tuple(SimulatedStage(s.name, s.seconds, spread, host_seconds=s.host_seconds) for s in THREE)
    live = source(100 * capacity, stages=stages)
    Simulation([live], capacity).run(10)
    assert len(live.in_time()) >= 0.99 * len(live.concluded)
    assert len(live.in_time()) / 10 >= 0.85 * 50 * capacity


def test_four_sources_at_twice_the_capacity_share_it_evenly():
    lives = [source(25, name=f"tower-{k}") for k in range(4)]
    Simulation(lives, 1).run(10)
    counts = [len(live.in_time()) for live in lives]
    assert sum(counts) / 10 >= 0.85 * 50
    assert min(counts) > 0.7 * max(counts)


def test_at_half_load_no_frame_is_lost():
    live = source(25)
    Simulation([live], 1).run(10)
    assert len(live.in_time()) >= 0.999 * 25 * 10 - 1
    assert live.dropped == 0


def test_a_study_beside_live_frames_at_half_load_ends_and_costs_them_nothing():
    live, study = source(25), SimulatedStudy(runs=300, seconds=0.008, deadline_at=60.0)
    Simulation([live], 1, (study,)).run(10)
    assert study.ended_at is not None and study.ended_at < 10
    assert len(live.in_time()) >= 0.99 * 25 * 10


def test_a_study_within_its_deadline_takes_nothing_from_saturated_sources():
    alone, beside = source(100), source(100)
    Simulation([alone], 1).run(10)
    Simulation([beside], 1, (SimulatedStudy(runs=10_000, seconds=0.004, deadline_at=60.0),)).run(10)
    assert len(beside.in_time()) >= 0.8 * len(alone.in_time())


def test_a_promoted_study_advances_beside_a_saturated_source_at_no_more_than_one_run_for_each_live_run():
    live, study = source(100, 0.1), SimulatedStudy(runs=10_000, seconds=0.004, deadline_at=2.0)
    simulation = Simulation([live], 1, (study,))
    simulation.run(10)
    promoted = simulation.started.count(RunClass.PROMOTED)
    assert promoted > 500
    assert promoted <= simulation.started.count(RunClass.LIVE) + 1
    assert rate_between(live, 3, 10) > 0.5 * rate_between(live, 0, 2)


def test_a_source_with_a_late_deadline_advances_beside_one_with_an_early_deadline_that_takes_all():
    early, late = source(200, 0.05, name="early"), source(25, 0.4, name="late")
    Simulation([early, late], 1).run(10)
    assert len(late.in_time()) / 10 > 2
    assert len(late.in_time()) >= 0.99 * len(late.concluded)


@pytest.mark.parametrize("slow", ["look", "detect", "segment"])
@pytest.mark.parametrize("lasts", [0.5, 3.0])
def test_after_a_tenfold_slow_down_of_one_stage_the_rate_recovers_within_seconds(slow, lasts):
    live = source(25, stages=THREE)
    simulation = Simulation(
        [live], 1, slowness=lambda stage, now: 10 if stage == slow and 10 <= now < 10 + lasts else 1
    )
    simulation.run(30)
    assert rate_between(live, 5, 10) > 24
    assert rate_between(live, 10 + lasts + 4, 30) > 24


def test_an_optional_stage_that_became_slow_is_skipped_and_comes_back_when_it_is_fast_again():
    stages = (*THREE[:2], SimulatedStage("segment", (0.006,), optional=True))
    live = source(25, stages=stages)
    simulation = Simulation([live], 1, slowness=lambda s, now: 15 if s == "segment" and 10 <= now < 20 else 1)
    simulation.run(40)

    def share(start, end):
        inside = live.in_time(start, end)
        return sum("segment" in ran for _, _, ran in inside) / len(inside)

    assert share(0, 10) == 1
    assert share(11, 20) < 0.05
    assert rate_between(live, 11, 20) > 22
    assert share(29, 40) == 1
    assert simulation.decisions["skip", "too_slow"] > 100
    assert 0 < simulation.decisions["run", "probe"] < 12


def test_a_cheaper_variant_stands_in_for_a_stage_that_is_too_slow_and_the_dear_one_comes_back():
    stages = (THREE[0], SimulatedStage("detect", (0.010, 0.005)), THREE[2])
    live = source(25, stages=stages)
    simulation = Simulation([live], 1, slowness=lambda s, now: 6 if s == "detect" and 10 <= now < 15 else 1)
    simulation.run(30)
    during = live.in_time(11, 15)
    assert sum("detect 1" in ran for _, _, ran in during) > 0.85 * 4 * 25
    assert all("detect" in ran for _, _, ran in live.in_time(20, 30))
    assert rate_between(live, 20, 30) > 24


def test_what_was_expected_far_above_the_deadline_is_tried_and_found_to_be_fast():
    live = source(25)
    simulation = Simulation([live], 1)
    for stage in ("look", "detect", "segment"):
        simulation.estimates["tower"].expect(stage, 0, 1.0)
    simulation.run(10)
    assert rate_between(live, 5, 10) > 24


def test_a_stage_that_stays_too_slow_costs_few_frames_by_being_tried():
    stages = (*THREE[:2], SimulatedStage("segment", (0.2,), optional=True))
    live = source(25, stages=stages)
    Simulation([live], 1).run(40)
    assert len(live.in_time()) > 0.95 * 25 * 40
