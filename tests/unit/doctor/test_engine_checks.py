"""What the engines' time and memory mean."""

from dataclasses import replace

from support.spools import make_config

from edge_runtime.config import Match, Video
from edge_runtime.doctor.check import Outcome
from edge_runtime.doctor.engines import Loaded, deadline_checks, engine_memory_check


def test_engines_that_use_up_the_deadline_are_warned_of(tmp_path):
    site = make_config(tmp_path)
    (pipeline,) = site.pipelines
    for seconds, outcome in ((29.0, Outcome.OK), (31.0, Outcome.WARN)):
        (check,) = deadline_checks(site, pipeline, {"e": Loaded(1.0, seconds, 1)})
        assert check.outcome is outcome


def test_each_source_is_held_against_its_own_deadline(tmp_path):
    base = make_config(tmp_path)
    (pipeline,) = base.pipelines
    sources = tuple(
        Video(name=name, pipeline=pipeline.name, url="/a.mp4", deadline_seconds=deadline)
        for name, deadline in (("slow", 0.1), ("fast", 0.05))
    )
    for match, first in ((None, []), (Match(), [Outcome.OK])):
        used = replace(pipeline, match=match)
        site = replace(base, pipelines=(used,), video=sources)
        checks = list(deadline_checks(site, used, {"e": Loaded(1.0, 0.04, 1)}))
        assert [check.outcome for check in checks] == [*first, Outcome.OK, Outcome.WARN]
        assert checks[-1].what == f"pipeline {pipeline.name}, fast" and "0.05 s" in checks[-1].found


def test_engines_that_use_up_the_memory_are_warned_of():
    assert engine_memory_check(3 * 10**9, 4 * 10**9).outcome is Outcome.OK
    assert engine_memory_check(3 * 10**9 + 1, 4 * 10**9).outcome is Outcome.WARN
