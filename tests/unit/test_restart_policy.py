"""When a role starts again, for any sequence of deaths."""

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.restart_policy import (
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    RESTARTS,
    SPENT_WAIT_SECONDS,
    WITHIN_SECONDS,
    RestartBudget,
)

LIVES = st.lists(st.tuples(st.floats(0.0, 400.0), st.booleans()), max_size=60)


def test_quick_deaths_wait_longer_each_time_then_the_budget_is_spent() -> None:
    budget = RestartBudget()
    verdicts = [budget.died(float(second), blamed_on_item=False) for second in range(RESTARTS + 1)]
    assert [v.wait_seconds for v in verdicts] == [0.2, 0.4, 0.8, 1.6, 3.2, SPENT_WAIT_SECONDS]
    assert [v.spent for v in verdicts] == [False] * RESTARTS + [True]


def test_after_it_was_spent_one_quick_death_spends_it_again_until_one_life_lasted() -> None:
    budget = RestartBudget()
    now = 0.0
    for _ in range(RESTARTS + 1):
        verdict = budget.died(now, blamed_on_item=False)
    for _ in range(3):
        now += verdict.wait_seconds + WITHIN_SECONDS - 1
        verdict = budget.died(now, blamed_on_item=False)
        assert verdict.spent
    now += verdict.wait_seconds + WITHIN_SECONDS
    assert not budget.died(now, blamed_on_item=False).spent


@given(LIVES)
def test_every_wait_is_within_its_bounds_and_at_most_so_many_restarts_fall_into_any_minute(
    lives: list[tuple[float, bool]],
) -> None:
    budget, now = RestartBudget(), 0.0
    restarts: list[float] = []
    for life, blamed in lives:
        now += life
        verdict = budget.died(now, blamed)
        assert verdict.spent == (verdict.wait_seconds == SPENT_WAIT_SECONDS)
        assert verdict.spent or FIRST_WAIT_SECONDS <= verdict.wait_seconds <= LONGEST_WAIT_SECONDS
        now += verdict.wait_seconds
        if not blamed:
            restarts.append(now)
    for start in restarts:
        within = [t for t in restarts if start <= t < start + WITHIN_SECONDS - LONGEST_WAIT_SECONDS]
        assert len(within) <= RESTARTS


@given(st.lists(st.floats(0.0, 100.0), max_size=40))
def test_deaths_that_an_item_is_blamed_for_never_spend_the_budget(lives: list[float]) -> None:
    budget, now = RestartBudget(), 0.0
    for life in lives:
        now += life
        verdict = budget.died(now, blamed_on_item=True)
        assert not verdict.spent
        now += verdict.wait_seconds
    assert not budget.died(now, blamed_on_item=False).spent


def test_a_worker_that_dies_of_items_at_once_and_for_ever_does_not_spin() -> None:
    budget, now = RestartBudget(), 0.0
    for _ in range(100):
        now += budget.died(now, blamed_on_item=True).wait_seconds
    assert now > 90 * LONGEST_WAIT_SECONDS
