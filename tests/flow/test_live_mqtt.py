"""A real broker that starts late, dies, stands still, refuses or hangs: it costs lost messages, and never late ones."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from support.dicom_peers import RecordingMetrics
from support.hooks import make_authority
from support.live_results import frame_result
from support.mosquitto import Heard, Listener, Mosquitto
from support.pacs import free_port, full_backlog, raw_server, wait_until

from edge_runtime.config import Destination
from edge_runtime.live.broker import Broker, Connection
from edge_runtime.live.registry import build_sink

TOPIC = "site/or1"
AGES = {"tower-1": 0.5, "tower-2": 0.5}


class Sending:
    """A destination and what it counts."""

    def __init__(self, port: int, **keys) -> None:
        self.metrics = RecordingMetrics()
        plain = {"host": "127.0.0.1", "topic": TOPIC, "retry_seconds": 0.2, **keys}
        self.sink = build_sink(Destination("bus", "mqtt", port=port, **plain), AGES, self.metrics)
        self.sequence = 0

    def play(self, seconds: float) -> None:
        """Results at 50 a second; handing one over takes no time, whatever the broker does."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.sequence += 1
            self.sink.put(frame_result("tower-1", self.sequence), None)
            time.sleep(0.02)

    def play_until(self, condition, seconds: float = 30.0) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, dict(self.metrics.counts)
            self.play(0.1)

    def count(self, outcome: str) -> int:
        return int(self.metrics.counts["edge_live_results_total", "bus", outcome])


@contextlib.contextmanager
def sending(port: int, **keys) -> Iterator[Sending]:
    made = Sending(port, **keys)
    try:
        yield made
    finally:
        made.sink.close(10)


@pytest.fixture
def broker(tmp_path) -> Mosquitto:
    return Mosquitto(tmp_path / "broker")


def age_seconds(heard: Heard) -> float:
    """How old the picture was when the message about it came."""
    captured = datetime.fromisoformat(heard.document["captured"].replace("Z", "+00:00")).timestamp()
    return heard.at + (time.time() - time.monotonic()) - captured


def test_a_broker_that_comes_late_goes_away_and_comes_again_gets_only_what_is_new(broker):
    with sending(broker.port) as bus:
        bus.play(0.5)
        assert bus.count("sent") == 0
        with broker.running(), Listener(broker.port).listening() as listener:
            bus.play_until(lambda: len(listener.of(f"{TOPIC}/tower-1")) > 20)
            broker.kill()
            lost = bus.count("lost")
            bus.play_until(lambda: bus.count("lost") > lost + 20)
            before = bus.sequence
            broker.start()
            listener.subscribed.clear()
            assert listener.subscribed.wait(10)
            bus.play_until(lambda: len(listener.of(f"{TOPIC}/tower-1")) > 60)
            heard = listener.of(f"{TOPIC}/tower-1")
            sequences = [each.document["sequence"] for each in heard]
            assert sequences == sorted(set(sequences))
            assert set(range(before - 15, before)) - set(sequences), "what was lost is not sent later"
            assert max(map(age_seconds, heard)) < 5
            assert listener.states(TOPIC)[-1] == "online"
    assert bus.count("sent") + bus.count("lost") + bus.count("stale") == bus.sequence


def test_a_broker_that_stands_still_is_left_and_hears_nothing_old_when_it_goes_on(broker):
    with broker.running(), Listener(broker.port).listening() as listener, sending(broker.port) as bus:
        bus.play_until(lambda: len(listener.of(f"{TOPIC}/tower-1")) > 20)
        with broker.standing_still():
            sent, begun = bus.count("sent"), bus.sequence
            bus.play_until(lambda: bus.count("lost") > 50)
            taken = bus.count("sent") - sent
            bus.play(1.0)
            assert bus.count("sent") == sent + taken, "nothing more is given to it"
            ended = bus.sequence
        bus.play_until(lambda: listener.of(f"{TOPIC}/tower-1")[-1].document["sequence"] > ended + 10)
        meanwhile = [h for h in listener.of(f"{TOPIC}/tower-1") if begun < h.document["sequence"] <= ended]
        assert len(meanwhile) < taken < (ended - begun) / 2
        assert listener.states(TOPIC) == ["online", "offline", "online"]


def test_the_retained_state_says_whether_we_are_there(broker):
    with broker.running():
        with sending(broker.port) as bus:
            with Listener(broker.port).listening() as listener:
                wait_until(lambda: listener.states(TOPIC) == ["online"])
            with Listener(broker.port).listening() as later:
                wait_until(lambda: later.states(TOPIC) == ["online"])
                bus.sink.close(10)
                wait_until(lambda: later.states(TOPIC) == ["online", "offline"])
        with Listener(broker.port).listening() as listener:
            wait_until(lambda: listener.states(TOPIC) == ["offline"])
            assert listener.of(f"{TOPIC}/tower-1") == [], "results are not retained"


def secret(folder: Path, text: str, mode: int = 0o600) -> str:
    file = folder / "bus.password"
    file.write_text(text + "\n")
    file.chmod(mode)
    return str(file)


def test_a_password_may_be_put_right_while_we_run(tmp_path):
    broker = Mosquitto(tmp_path / "broker", user="edge", password="right word")
    with broker.running(), sending(broker.port, user="edge", password_file=secret(tmp_path, "wrong word")) as bus:
        bus.play_until(lambda: bus.count("lost") > 30)
        secret(tmp_path, "right word", 0o644)
        bus.play(1.0)
        assert bus.count("sent") == 0
        secret(tmp_path, "right word", 0o640)
        bus.play_until(lambda: bus.count("sent") > 10)


def test_tls_is_trusted_by_the_authority_that_the_configuration_names(tmp_path):
    authority, other = make_authority(tmp_path / "ours"), make_authority(tmp_path / "other")
    broker = Mosquitto(tmp_path / "broker", tls_pem=tmp_path / "ours" / "server.pem")
    with broker.running():
        with sending(broker.port, tls=True, ca_file=str(other.ca_file)) as bus:
            bus.play(1.0)
            assert bus.count("sent") == 0 and bus.count("lost") > 20
        with sending(broker.port, tls=True, ca_file=str(authority.ca_file)) as bus:
            bus.play_until(lambda: bus.count("sent") > 20)


def silent(connection, over):
    over.wait(60)


def stammering(connection, over):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    over.wait(60)


def consenting(connection, over):
    """Takes the connection, and never reads again."""
    connection.recv(65536)
    connection.sendall(b"\x20\x02\x00\x00")
    over.wait(60)


@pytest.mark.parametrize("behave", [silent, stammering, consenting])
@pytest.mark.parametrize("tls", [False, True])
def test_a_peer_that_is_no_broker_costs_nothing_but_lost_messages(behave, tls):
    with raw_server(behave) as port, sending(port, tls=tls, timeout_seconds=0.5) as bus:
        bus.play_until(lambda: bus.count("lost") + bus.count("stale") > 50)
        assert bus.count("sent") == 0


@pytest.mark.parametrize("kind", ["full_backlog", "nobody", "no_name"])
def test_a_broker_that_cannot_be_reached_costs_nothing_but_lost_messages(kind):
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(full_backlog()) if kind == "full_backlog" else free_port()
        host = "broker.invalid" if kind == "no_name" else "127.0.0.1"
        bus = stack.enter_context(sending(port, host=host, timeout_seconds=0.5))
        bus.play_until(lambda: bus.count("lost") + bus.count("stale") > 50)
        assert bus.count("sent") == 0


def test_with_a_connection_that_is_given_up_goes_what_still_waits_in_it():
    given_up, ends = threading.Event(), []

    def gorged(connection, over):
        """A broker for two packets; it reads on when it was given up."""
        connection.recv(65536)
        connection.sendall(b"\x20\x02\x00\x00")
        connection.recv(65536)
        connection.sendall(b"\x40\x02\x00\x01")
        given_up.wait(60)
        try:
            while connection.recv(1 << 20):
                pass
            ends.append("to its end")
        except ConnectionResetError:
            ends.append("reset")

    with raw_server(gorged) as port:
        connection = Connection(Broker("127.0.0.1", port, TOPIC))
        connection.open()
        while connection.publish(f"{TOPIC}/tower-1", b"x" * 100_000):
            pass
        connection.abort()
        given_up.set()
        wait_until(lambda: bool(ends))
    assert ends == ["reset"]
