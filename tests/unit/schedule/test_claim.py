"""In whose name an engine's runs wait for their turn."""

import threading

from edge_runtime.metrics import METRICS
from edge_runtime.schedule.arbiter import Arbiter, RunClass
from edge_runtime.schedule.claim import Claim
from edge_runtime.telemetry.metrics import RoleMetrics


def made():
    now, metrics, promoted = [0.0], RoleMetrics(METRICS, {}), []
    arbiter = Arbiter(1, metrics, clock=lambda: now[0])
    return Claim(arbiter, lambda: now[0], lambda: promoted.append(now[0])), arbiter, metrics, now, promoted


def running(metrics):
    return {labels[0] for name, labels, value in metrics.snapshot() if name == "edge_schedule_running" and value}


def test_a_study_past_its_deadline_is_promoted_once_from_its_next_run_on():
    claim, _, metrics, now, promoted = made()
    turn = claim.turn_of("engine", 0.01)
    claim.begin(RunClass.STUDY, 5.0)
    for moment, expected in ((1.0, {"study"}), (6.0, {"promoted"}), (7.0, {"promoted"})):
        now[0] = moment
        with turn():
            assert running(metrics) == expected
    assert promoted == [6.0]
    claim.begin(RunClass.STUDY, 20.0)
    with turn():
        assert running(metrics) == {"study"}


def test_between_the_runs_of_a_live_frame_no_study_has_its_turn():
    claim, arbiter, metrics, _, _ = made()
    study, ran = Claim(arbiter, lambda: 0.0), threading.Event()
    study.begin(RunClass.STUDY, 100.0)
    turn = claim.turn_of("engine", 0.01)

    def work():
        with study.turn_of("other", 0.01)():
            ran.set()

    with claim.frame(deadline_at=1.0):
        with turn():
            assert running(metrics) == {"live"}
            thread = threading.Thread(target=work)
            thread.start()
        with turn():
            assert running(metrics) == {"live"}
        assert not ran.wait(0.2)
    assert ran.wait(30)
    thread.join()
