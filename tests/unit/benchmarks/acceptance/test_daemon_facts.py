"""What the metrics of the daemon under test say."""

import pytest

from benchmarks.acceptance.daemon_facts import frames_by_outcome, troubles_of
from benchmarks.record import BenchFailed

METRICS = b"""# TYPE edge_role_restarts_total counter
edge_role_restarts_total{blame="item",role="infer"} 1
edge_role_restarts_total{blame="role",role="infer"} 2
edge_role_restarts_total{blame="role",role="receive"} 0
edge_live_results_lost_total{source="tower"} 4
edge_live_results_total{destination="lines",outcome="sent"} 90
edge_live_results_total{destination="lines",outcome="stale"} 3
edge_live_results_total{destination="lines",outcome="lost"} 2
edge_live_results_total{destination="lines",outcome="failed"} 1
edge_video_frames_total{outcome="in_time",source="tower"} 7
"""


class Answers:
    def __init__(self, *answers):
        self._answers = list(answers)

    def get(self, path):
        return self._answers.pop(0)


def test_what_the_daemon_counted_as_gone_wrong_is_told():
    assert troubles_of(Answers((200, METRICS))) == [
        "the role infer ended and was replaced: 3 times",
        "results of frames of tower that did not reach the live outputs: 4",
        "results of frames that did not reach lines: 3",
    ]
    assert frames_by_outcome(Answers((200, METRICS)), ["tower", "other"]) == {"tower": {"in_time": 7}, "other": {}}


@pytest.mark.parametrize("ask", [troubles_of, lambda daemon: frames_by_outcome(daemon, ["tower"])])
def test_no_answer_is_never_taken_for_nothing(ask):
    assert ask(Answers((0, b""), (0, b""), (200, METRICS)))
    with pytest.raises(BenchFailed, match="no metrics"):
        ask(Answers((0, b""), (503, b""), (0, b"")))
