"""The socket between a role and the supervisor, with real sockets and a real process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_runtime.roles.link import Link, send, socket_pair

pytestmark = pytest.mark.slow

ROLE = """
import socket, sys, time
from edge_runtime.roles.link import Link
link = Link(socket.socket(fileno=int(sys.argv[1])), list)
link.start()
link.ready()
if sys.argv[2] == "good":
    link.stopped.wait()
    print("stopped after", round(link.drain_seconds), link.replaced, flush=True)
time.sleep(600)
"""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket_pair()
    with ours, theirs:
        yield ours, theirs


def messages(end: socket.socket) -> list[dict[str, Any]]:
    found = []
    while True:
        try:
            found.append(json.loads(end.recv(4_000_000)))
        except BlockingIOError:
            return found


def last_state(end: socket.socket) -> dict[str, Any]:
    return [message["state"] for message in messages(end) if "state" in message][-1]


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True


def test_a_role_says_that_it_is_ready_and_why_not_fully(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    link = Link(theirs, list)
    link.flush()
    assert last_state(ours)["ready"] is False
    link.ready()
    link.reason("reserve", "the disk is full")
    link.flush()
    assert last_state(ours)["reasons"] == {"reserve": "the disk is full"}
    link.reason("reserve", None)
    link.reason("never said", None)
    link.flush()
    state = last_state(ours)
    assert (state["ready"], state["reasons"]) == (True, {})


def test_a_role_that_ends_says_why(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    Link(theirs, list).last_words("EngineRejected: engine bright")
    assert last_state(ours)["reasons"] == {"end": "EngineRejected: engine bright"}


def test_work_has_a_bound_on_the_clock_that_all_processes_share(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    link = Link(theirs, list)
    before = time.monotonic()
    with pytest.raises(KeyError), link.progress("job", "00ab-1", 30.0):
        item, until = last_state(ours)["activities"]["job"]
        assert item == "00ab-1"
        assert before + 30.0 <= until <= time.monotonic() + 30.0
        raise KeyError
    assert last_state(ours)["activities"] == {}
    link.end("job")
    assert messages(ours) == []


def test_a_beat_is_told_with_the_next_state(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    link = Link(theirs, list)
    link.flush()
    before = last_state(ours)["beat_at"]
    link.flush()
    assert last_state(ours)["beat_at"] == before
    link.beat()
    link.flush()
    assert last_state(ours)["beat_at"] > before


def test_hints_go_both_ways(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    link = Link(theirs, list)
    link.hint("report")
    assert messages(ours) == [{"hint": "report"}]


def test_many_metrics_travel_in_several_messages_and_none_is_left_out(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    numbers = [123456.789] * 19
    samples = [(f"edge_{number}_seconds", ("p" * 64, "s" * 64), numbers) for number in range(1200)]
    Link(theirs, lambda: list(samples)).flush()
    told = [message["metrics"] for message in messages(ours) if "metrics" in message]
    assert len(told) == 3
    assert [sample for part in told for sample in part] == json.loads(json.dumps(samples))


def test_a_supervisor_that_does_not_read_never_blocks_a_role(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    link = Link(theirs, list)
    sent = [send(theirs, {"hint": "x" * 10_000}) for _ in range(1000)]
    assert sent[0]
    assert not sent[-1]
    link.ready()
    messages(ours)
    link.flush()
    assert last_state(ours)["ready"]


def test_sending_to_nobody_is_no_error(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    ours.close()
    assert not send(theirs, {"hint": "infer"})


def test_a_child_of_the_role_does_not_keep_the_link_open(ends: tuple[socket.socket, socket.socket]) -> None:
    _, theirs = ends
    theirs.set_inheritable(True)  # as it is after exec
    Link(theirs, list)
    assert not theirs.get_inheritable()


class Process:
    """A role in a process of its own."""

    def __init__(self, manners: str) -> None:
        self.ours, theirs = socket_pair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ROLE, str(theirs.fileno()), manners],
                pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        self.ready = wait_for(lambda: any(m.get("state", {}).get("ready") for m in messages(self.ours)), 30)

    def end(self) -> None:
        self.ours.close()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start() -> Iterator[Callable[[str], Process]]:
    started: list[Process] = []

    def run(manners: str) -> Process:
        started.append(Process(manners))
        assert started[-1].ready
        return started[-1]

    yield run
    for one in started:
        one.end()


@pytest.mark.parametrize("manners", ["good", "busy"])
def test_a_role_ends_within_two_seconds_of_its_supervisor_whatever_it_does(
    start: Callable[[str], Process], manners: str
) -> None:
    role = start(manners)
    role.ours.close()
    assert role.process.wait(timeout=2.0) == 1


def test_a_role_that_is_asked_to_stop_hears_for_how_long_it_may_drain(start: Callable[[str], Process]) -> None:
    role = start("good")
    assert send(role.ours, {"hint": True})
    assert send(role.ours, {"stop": 8.0})
    assert role.process.stdout is not None
    assert role.process.stdout.readline() == "stopped after 8 False\n"
    assert role.process.poll() is None


def test_a_role_goes_on_reporting_while_its_main_thread_works(start: Callable[[str], Process]) -> None:
    role = start("busy")
    messages(role.ours)
    assert wait_for(lambda: any("state" in message for message in messages(role.ours)))
    os.kill(role.process.pid, signal.SIGKILL)
    assert wait_for(lambda: role.process.poll() is not None)
    assert wait_for(lambda: role.ours.recv(1_000_000) == b"")
