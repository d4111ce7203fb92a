"""A role that is replaced: told to finish, not to be blamed, and judged by what it says."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.spools import close, collect

from edge_runtime.role import BEAT_SECONDS, START_SECONDS, Role
from edge_runtime.roles.inference import _put_back
from edge_runtime.roles.link import send, socket_pair
from edge_runtime.spool.jobs import MAXIMUM_INTERRUPTIONS
from edge_runtime.spool.spool import Spool

PROCESS = """
import socket, sys, time
from edge_runtime.roles.link import Link
link = Link(socket.socket(fileno=int(sys.argv[1])), list)
link.start()
got = None
while got is None:
    got = link.new_configuration()
print(got, link.new_configuration(), flush=True)
link.stopped.wait()
print(link.replaced, 500 < link.drain_seconds <= 600, flush=True)
while link.replaced:
    time.sleep(0.01)
print(link.replaced, 0 < link.drain_seconds <= 8, flush=True)
"""
STATE = {"ready": True, "reasons": {}, "activities": {}, "beat_at": 0.0, "configuration": "f", "engines": None,
         "gpu": None}  # fmt: skip


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket_pair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def role(ends: tuple[socket.socket, socket.socket]) -> Iterator[Role]:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    working = Role("infer")
    working.begin(process, ends[0], 100.0)
    with process:
        yield working


def told(end: socket.socket) -> list[dict[str, Any]]:
    found = []
    end.setblocking(False)
    while True:
        try:
            found.append(json.loads(end.recv(100_000)))
        except BlockingIOError:
            return found


def test_a_role_on_its_way_out_is_told_once_and_is_no_longer_ready(
    role: Role, ends: tuple[socket.socket, socket.socket]
) -> None:
    role.hear(STATE)
    assert role.ready
    role.leave(30.0)
    role.leave(60.0)
    role.tell()
    role.tell()
    role.hear(STATE)
    assert told(ends[1]) == [{"stop": 30.0, "replaced": True}]
    assert (role.ready, role.was_ready, role.down_reason) == (False, True, "reloading")


def test_a_role_without_a_process_has_nothing_to_leave() -> None:
    role = Role("infer")
    role.leave(30.0)
    assert role.drain_seconds is None


def test_the_next_process_begins_without_what_was_said_of_the_last(
    role: Role, ends: tuple[socket.socket, socket.socket]
) -> None:
    role.hear({**STATE, "engines": {"bright": "00"}, "reasons": {"end": "x"}})
    role.leave(30.0)
    assert role.process is not None
    role.begin(role.process, ends[0], 200.0)
    assert (role.down_reason, role.drain_seconds, role.engines, role.reasons) == ("reloading", None, None, {})
    role.tell()
    assert told(ends[1]) == []


def test_what_a_full_socket_does_not_take_is_told_later(role: Role, ends: tuple[socket.socket, socket.socket]) -> None:
    while send(ends[0], {"hint": "x" * 10_000}):
        pass
    role.untold = ["file", "a=1"]
    role.leave(5.0)
    role.tell()
    assert all("hint" in message for message in told(ends[1]))
    role.tell()
    assert told(ends[1]) == [{"stop": 5.0, "replaced": True}, {"configure": ["file", "a=1"]}]


def test_a_role_hangs_when_its_loop_stands_still_or_its_work_is_past_its_bound(role: Role) -> None:
    assert role.hangs_at(100.0 + START_SECONDS) is None
    assert role.hangs_at(100.1 + START_SECONDS) == ("main loop", "")
    role.hear({**STATE, "beat_at": 100.0})
    assert role.hangs_at(100.0 + BEAT_SECONDS) is None
    assert role.hangs_at(100.1 + BEAT_SECONDS) == ("main loop", "")
    role.hear({**STATE, "beat_at": 100.0, "activities": {"job": ["00ab", 500.0]}})
    assert role.hangs_at(500.0) is None
    assert role.hangs_at(500.1) == ("job", "00ab")


def test_a_process_hears_of_a_new_configuration_once_and_that_a_later_stop_makes_the_drain_shorter() -> None:
    ours, theirs = socket_pair()
    with ours, theirs:
        command = [sys.executable, "-c", PROCESS, str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            send(ours, {"configure": ["file", "a=1"]})
            assert process.stdout.readline() == "('file', 'a=1') None\n"
            send(ours, {"stop": 600.0, "replaced": True})
            assert process.stdout.readline() == "True True\n"
            send(ours, {"stop": 8.0})
            assert process.stdout.readline() == "False True\n"


@pytest.mark.parametrize(("replaced", "remembered"), [(True, 0), (False, 1)])
def test_a_job_that_a_replacement_cuts_short_is_not_blamed_however_often(
    spool: Spool, replaced: bool, remembered: int
) -> None:
    job = close(spool, collect(spool))
    for n in range(MAXIMUM_INTERRUPTIONS):
        spool.jobs.step(job.id, "begin")
        _put_back(spool, replaced)
        again = spool.jobs.get(job.id)
        assert (again.state, again.attempts, again.interruptions) == ("pending", 0, remembered * (n + 1))
    assert again.poisonous is not replaced
