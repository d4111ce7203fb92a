"""The tables of states: every (state, event) pair is either a declared step or refused by name."""

import itertools

import pytest

from edge_runtime.errors import SpoolError
from edge_runtime.spool.states import (
    DELIVERY,
    DELIVERY_STATES,
    INSTANCE,
    INSTANCE_STATES,
    JOB,
    JOB_ENDED,
    JOB_STATES,
    Table,
    after,
)

TABLES = {
    "instance": (INSTANCE, INSTANCE_STATES, "stored", {"retired"}),
    "job": (JOB, JOB_STATES, "collecting", {"retired"}),
    "delivery": (DELIVERY, DELIVERY_STATES, "queued", {"done", "cancelled"}),
}
PAIRS = [
    (name, state, event)
    for name, (table, states, _, _) in TABLES.items()
    for state, event in itertools.product(states, sorted({event for _, event in table}))
]


def test_there_are_pairs_to_test() -> None:
    assert len(PAIRS) > 200


@pytest.mark.parametrize(("name", "state", "event"), PAIRS)
def test_every_pair_steps_as_declared_or_names_what_is_possible(name: str, state: str, event: str) -> None:
    table = TABLES[name][0]
    if (state, event) in table:
        assert after(table, state, event, "item 7") == table[state, event]
    else:
        possible = ", ".join(sorted(e for s, e in table if s == state)) or "nothing"
        with pytest.raises(SpoolError) as caught:
            after(table, state, event, "item 7")
        assert str(caught.value) == f"item 7 is {state}: {event} is not possible there, only {possible}"


def _reachable(table: Table, first: str) -> set[str]:
    found, waiting = {first}, [first]
    while waiting:
        here = waiting.pop()
        for (state, _), following in table.items():
            if state == here and following not in found:
                found.add(following)
                waiting.append(following)
    return found


@pytest.mark.parametrize("name", TABLES)
def test_every_state_is_reachable_from_the_first(name: str) -> None:
    table, states, first, _ = TABLES[name]
    assert _reachable(table, first) == set(states)


@pytest.mark.parametrize("name", TABLES)
def test_only_the_declared_ends_have_no_exit_and_each_state_reaches_one(name: str) -> None:
    table, states, _, ends = TABLES[name]
    assert {state for state in states if not any(s == state for s, _ in table)} == ends
    assert all(_reachable(table, state) & ends for state in states)


def test_an_ended_job_leaves_its_state_only_by_a_retry_a_cancel_or_retention() -> None:
    exits = {(state, event) for state, event in JOB if state in JOB_ENDED}
    assert {event for _, event in exits} == {"retry_inference", "cancel", "retire"}
    assert {state for state, event in exits if event != "retire"} == {"refused"}


def test_nothing_that_has_no_answer_yet_can_be_deleted() -> None:
    assert {state for state, event in JOB if event == "retire"} == set(JOB_ENDED) - {"retired"}
    assert ("stored", "retire") not in INSTANCE


def test_a_delivery_ends_done_only_from_being_sent() -> None:
    assert {pair for pair, following in DELIVERY.items() if following == "done"} == {("sending", "done")}
