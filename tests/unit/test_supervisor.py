"""What the supervisor makes of a role that ends, hangs, or cannot be ended. Processes are stand-ins."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.spools import make_config

from edge_runtime import supervisor
from edge_runtime.errors import EXIT_DEVICE_LOST, EXIT_FAILURE, EXIT_UNAVAILABLE
from edge_runtime.restart_policy import RESTARTS, SPENT_WAIT_SECONDS
from edge_runtime.role import CANNOT_BE_ENDED, UNKILLABLE_SECONDS, Role
from edge_runtime.roles.link import socket_pair
from edge_runtime.spool.layout import hold
from edge_runtime.supervisor import Supervisor

STATE = {"ready": True, "reasons": {}, "activities": {}, "beat_at": 0.0, "configuration": "f", "engines": None,
         "gpu": None}  # fmt: skip
WORDS = "OutOfDeviceMemory: cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY"


class Process:
    """A process that ends as told; `mortal` is False for one that waits in the kernel."""

    pid = 4711

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.mortal = True

    def kill(self) -> None:
        if self.mortal:
            self.returncode = -signal.SIGKILL

    def poll(self) -> int | None:
        return self.returncode


class Bench:
    """A supervisor whose roles have stand-ins for processes."""

    def __init__(self, folder: Path, told: list[str]) -> None:
        self.told = told  # to systemd
        self.daemon: Any = Supervisor(make_config(folder), ["site.yaml"])
        self.layout = self.daemon._layout
        self.layout.create()
        self.daemon._reloader = self
        self.now = time.monotonic()
        for role in self.daemon._roles:
            self.begin(role)
            role.hear(STATE)

    def refused_by(self, _role: str, _why: str) -> bool:
        return False

    def begin(self, role: Role) -> None:
        ours, theirs = socket_pair()
        theirs.close()
        process: Any = Process()
        role.begin(process, ours, self.now)
        self.daemon._selector.register(ours, supervisor.selectors.EVENT_READ, role)

    @property
    def infer(self) -> Role:
        found: Role = next(role for role in self.daemon._roles if role.name == "infer")
        return found

    def ends(self, code: int, words: str = "") -> None:
        """Infer ends with a code, and what it said last."""
        role = self.infer
        assert role.process is not None
        role.reasons = {"end": words} if words else {}
        role.process.returncode = code
        self.daemon._bury(role, self.now)

    def says(self) -> list[str]:
        return [reason.reason for reason in self.daemon._reasons() if reason.role == "infer"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    told: list[str] = []
    monkeypatch.setattr(supervisor, "notify_systemd", told.append)
    made = Bench(tmp_path, told)
    yield made
    for role in made.daemon._roles:
        made.daemon._close(role)


def test_a_lost_device_is_a_reason_to_start_again_at_once_then_later_and_never_to_end(bench: Bench) -> None:
    waits = []
    for _ in range(RESTARTS + 1):
        bench.ends(EXIT_DEVICE_LOST, WORDS)
        waits.append(round(bench.infer.start_at - bench.now, 3))
        bench.begin(bench.infer)
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, SPENT_WAIT_SECONDS]
    assert not bench.daemon._stopping


@pytest.mark.parametrize("code", [EXIT_DEVICE_LOST, EXIT_UNAVAILABLE])
def test_readiness_gives_the_last_words_while_the_role_is_down_and_while_it_starts_again(
    bench: Bench, code: int
) -> None:
    bench.ends(code, WORDS)
    assert WORDS in bench.says()
    bench.begin(bench.infer)
    assert bench.says() == [f"starting; it ended with: {WORDS}"]
    bench.infer.hear(STATE)
    assert bench.says() == []


@pytest.mark.parametrize(
    ("code", "worked", "ends"),
    [
        (EXIT_UNAVAILABLE, False, True),
        (EXIT_UNAVAILABLE, True, False),
        (EXIT_FAILURE, True, True),
        (EXIT_DEVICE_LOST, False, False),
    ],
)
def test_a_device_that_is_not_there_ends_the_daemon_only_where_it_has_never_worked(
    bench: Bench, code: int, worked: bool, ends: bool
) -> None:
    bench.infer.was_ready = False
    if worked:
        bench.daemon._note_worked(bench.infer)
    bench.ends(code, WORDS)
    assert bench.daemon._stopping is ends
    assert bench.daemon._exit_code == (code if ends else 0)


def test_that_a_role_has_worked_is_remembered_by_the_spool(bench: Bench) -> None:
    bench.infer.was_ready = False
    bench.daemon._take(bench.infer, json.dumps({"state": STATE}).encode())
    assert (bench.layout.run / "infer.worked").exists()


def test_a_role_that_hangs_is_not_ready_from_the_moment_it_is_killed(bench: Bench) -> None:
    bench.infer.hear({**STATE, "activities": {"job": ["00ab", bench.now - 1]}})
    bench.daemon._kill_if_hung(bench.infer, bench.now)
    bench.infer.hear(STATE)
    assert bench.says() == ["hangs and is killed"]
    bench.daemon._bury(bench.infer, bench.now)
    bench.begin(bench.infer)
    assert bench.says() == ["starting; it ended with: hung in its job"]


def test_a_process_that_cannot_be_ended_is_told_and_all_else_goes_on(bench: Bench) -> None:
    process: Any = bench.infer.process
    process.mortal = False
    bench.infer.hear({**STATE, "activities": {"job": ["00ab", bench.now - 1]}})
    bench.daemon._kill_if_hung(bench.infer, bench.now)
    bench.daemon._kill_if_hung(bench.infer, bench.now + UNKILLABLE_SECONDS)
    assert bench.says() == ["hangs and is killed"]
    bench.daemon._kill_if_hung(bench.infer, bench.now + UNKILLABLE_SECONDS + 1)
    assert bench.says() == [CANNOT_BE_ENDED] and "restart the computer" in CANNOT_BE_ENDED
    assert not bench.daemon._stopping
    assert [reason.role for reason in bench.daemon._reasons()] == ["infer"]


def test_the_next_daemon_starts_without_the_role_whose_process_cannot_be_ended(bench: Bench) -> None:
    bench.infer.process, bench.infer.ready = None, False
    with hold(bench.layout.run / "infer.lock"):
        bench.daemon._start(bench.infer)
        assert bench.infer.process is None and bench.says() == [CANNOT_BE_ENDED]
        assert 0 < bench.infer.start_at - time.monotonic() < 5, "it is looked at again"
    assert bench.daemon._is_free(bench.infer)


def test_systemd_hears_ready_when_all_but_the_accelerator_is_there_and_again_when_that_is(bench: Bench) -> None:
    bench.ends(EXIT_UNAVAILABLE, "BackendUnavailable: no driver\nhere")
    bench.daemon._tell_whether_ready(bench.now)
    assert bench.told[-1] == (
        "READY=1\nSTATUS=receiving and storing only: infer is down: BackendUnavailable: no driver here"
    )
    bench.begin(bench.infer)
    bench.daemon._tell_whether_ready(bench.now)
    assert len(bench.told) == 1
    bench.infer.hear(STATE)
    bench.daemon._tell_whether_ready(bench.now)
    bench.daemon._tell_whether_ready(bench.now)
    assert bench.told[1:] == ["STATUS=ready"]


def test_systemd_waits_for_every_other_role_and_for_an_accelerator_that_may_soon_be_there(bench: Bench) -> None:
    bench.ends(EXIT_DEVICE_LOST, WORDS)
    bench.daemon._tell_whether_ready(bench.now)
    bench.begin(bench.infer)
    bench.ends(EXIT_UNAVAILABLE, WORDS)
    next(role for role in bench.daemon._roles if role.name == "report").ready = False
    bench.daemon._tell_whether_ready(bench.now)
    assert bench.told == []


def test_a_role_whose_gpu_is_lost_is_not_fully_ready_until_it_answers(bench: Bench) -> None:
    asked: list[str] = []
    answers = ["GPU 0 (NVIDIA L4): it fell off the bus", None]

    def lost(address: str) -> str | None:
        asked.append(address)
        return answers[0]

    bench.daemon._gpus.lost = lost
    bench.daemon._turned()
    assert asked == [] and bench.daemon._reasons() == [], "no role works on a GPU"
    bench.infer.hear({**STATE, "gpu": "0000:01:00.0"})
    bench.daemon._turned()
    assert asked == ["0000:01:00.0"]
    assert [(reason.role, reason.reason) for reason in bench.daemon._reasons()] == [("infer", answers[0])]
    answers.pop(0)
    bench.daemon._turned()
    assert bench.daemon._reasons() == []
