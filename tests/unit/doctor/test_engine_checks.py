"""What the engines' time and memory mean."""

from support.spools import make_config

from edge_runtime.doctor.check import Outcome
from edge_runtime.doctor.engines import Loaded, deadline_check, engine_memory_check


def test_engines_that_use_up_the_deadline_are_warned_of(tmp_path):
    (pipeline,) = make_config(tmp_path).pipelines
    assert deadline_check(pipeline, {"e": Loaded(1.0, 29.0, 1)}).outcome is Outcome.OK
    assert deadline_check(pipeline, {"e": Loaded(1.0, 31.0, 1)}).outcome is Outcome.WARN


def test_engines_that_use_up_the_memory_are_warned_of():
    assert engine_memory_check(3 * 10**9, 4 * 10**9).outcome is Outcome.OK
    assert engine_memory_check(3 * 10**9 + 1, 4 * 10**9).outcome is Outcome.WARN
