"""What goes to a broker and when it is tried again, with a broker and a clock that do as they are told."""

import json
import socket
import ssl
from pathlib import Path

import pytest
from support.live_results import frame_result

from edge_runtime.config import Destination
from edge_runtime.errors import BackendUnavailable, DeliveryDeferred
from edge_runtime.live import broker as broker_module
from edge_runtime.live.broker import Broker, in_words, load_paho, read_password
from edge_runtime.live.mqtt import LONGEST_WAIT_SECONDS, MqttWriter
from edge_runtime.live.registry import build_broker
from edge_runtime.live.sinks import Entry


class Site:
    """The clock, and how the broker behaves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.refuses: Exception | None = None
        self.breaks = self.takes_nothing = False
        self.connect_seconds = self.silent_seconds = 0.0
        self.attempts: list[float] = []
        self.sent: list[tuple[str, dict]] = []
        self.ended: list[str] = []

    def __call__(self) -> float:
        return self.now

    def connect(self, _broker: Broker) -> "Connected":
        return Connected(self)

    def writer(self, **display_ages: float) -> MqttWriter:
        ages = display_ages or {"tower-1": 0.5}
        broker = Broker("broker.example.org", 1883, "site/or1", name="bus")
        return MqttWriter(broker, ages, retry_seconds=2.0, clock=self, connect=self.connect)

    def entry(self, sequence: int = 1, age_seconds: float = 0.02, source: str = "tower-1") -> Entry:
        return Entry(frame_result(source, sequence, age_seconds=age_seconds, now=self.now))


class Connected:
    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def silent_seconds(self) -> float:
        return self._site.silent_seconds

    def open(self) -> None:
        self._site.attempts.append(self._site.now)
        self._site.now += self._site.connect_seconds
        if self._site.refuses is not None:
            raise self._site.refuses

    def turn(self, seconds: float = 0.0) -> None:
        if self._site.breaks:
            raise ConnectionError

    def ask(self) -> None:
        self.turn()

    def publish(self, topic: str, payload: bytes) -> bool:
        self._site.sent.append((topic, json.loads(payload)))
        return not self._site.takes_nothing

    def close(self) -> None:
        self._site.ended.append("closed")

    def abort(self) -> None:
        self._site.ended.append("aborted")


@pytest.fixture
def site() -> Site:
    return Site()


def test_each_source_has_its_topic(site):
    writer = site.writer(**{"tower-1": 0.5, "tower-2": 0.5})
    for source in ("tower-1", "tower-2", "tower-1"):
        assert writer.write(site.entry(source=source)) == "sent"
    assert [topic for topic, _ in site.sent] == ["site/or1/tower-1", "site/or1/tower-2", "site/or1/tower-1"]
    assert all(topic.endswith(said["source"]) for topic, said in site.sent)
    assert len(site.attempts) == 1


def test_what_is_too_old_is_not_sent_and_not_a_reason_to_connect(site):
    writer = site.writer()
    assert writer.write(site.entry(age_seconds=0.51)) == "stale"
    assert site.attempts == [] and site.sent == []


def test_the_display_age_is_that_of_the_source(site):
    writer = site.writer(slow=5.0, fast=0.1)
    assert writer.write(site.entry(age_seconds=0.2, source="slow")) == "sent"
    assert writer.write(site.entry(age_seconds=0.2, source="fast")) == "stale"


def test_what_became_too_old_while_connecting_is_not_sent(site):
    site.connect_seconds = 0.6
    writer = site.writer()
    assert writer.write(site.entry()) == "stale"
    assert writer.write(site.entry(2)) == "sent"
    assert [said["sequence"] for _, said in site.sent] == [2]


def test_a_broker_that_is_away_is_tried_again_for_ever_at_growing_intervals(site):
    site.refuses = ConnectionRefusedError()
    writer = site.writer()
    for _ in range(20_000):
        assert writer.write(site.entry()) == "lost"
        writer.idle()
        site.now += 0.04
    waits = [later - earlier for earlier, later in zip(site.attempts, site.attempts[1:], strict=False)]
    assert [round(wait) for wait in waits[:4]] == [2, 4, 8, 10]
    assert max(waits) <= LONGEST_WAIT_SECONDS + 0.1 and len(waits) > 70
    site.refuses = None
    site.now += LONGEST_WAIT_SECONDS
    assert writer.write(site.entry()) == "sent"
    site.breaks = True
    assert writer.write(site.entry()) == "lost"
    site.breaks, site.now = False, site.now + 2.1
    assert writer.write(site.entry()) == "sent", "after a connection that worked the first wait is short again"


def test_it_connects_without_results_so_that_its_state_is_known(site):
    site.writer().idle()
    assert len(site.attempts) == 1


@pytest.mark.parametrize("trouble", ["breaks", "takes_nothing"])
def test_a_connection_that_does_not_work_is_reset_and_nothing_is_kept_for_later(site, trouble):
    writer = site.writer()
    writer.write(site.entry(1))
    setattr(site, trouble, True)
    assert writer.write(site.entry(2)) == "lost"
    assert site.ended == ["aborted"]
    setattr(site, trouble, False)
    site.now += 2.1
    site.sent.clear()
    assert writer.write(site.entry(3)) == "sent"
    assert [said["sequence"] for _, said in site.sent] == [3]


def test_a_broker_that_does_not_answer_gets_nothing_more(site):
    writer = site.writer()
    writer.write(site.entry(1))
    site.silent_seconds = 0.49
    assert writer.write(site.entry(2)) == "sent"
    site.silent_seconds = 0.51
    assert writer.write(site.entry(3)) == "lost"
    assert site.ended == ["aborted"] and len(site.sent) == 2


def test_the_patience_is_that_of_the_slowest_source(site):
    writer = site.writer(slow=5.0, fast=0.1)
    writer.write(site.entry(1, source="slow"))
    site.silent_seconds = 4.9
    assert writer.write(site.entry(2, source="slow")) == "sent"


def test_the_end_is_said(site):
    writer = site.writer()
    writer.close()
    writer.idle()
    writer.close()
    assert site.ended == ["closed"]


def test_the_same_trouble_is_told_once(site, caplog, monkeypatch):
    import logging

    monkeypatch.setattr(logging.getLogger("edge_runtime"), "propagate", True)
    site.refuses = DeliveryDeferred("the broker refuses the connection: Not authorized")
    writer = site.writer()
    for _ in range(100):
        writer.idle()
        site.now += 1
    (record,) = caplog.records
    assert record.event == {
        "destination": "bus", "broker": "broker.example.org:1883",
        "error": "the broker refuses the connection: Not authorized",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "x"), "Connection refused"),
        (TimeoutError(), "it does not answer"),
        (socket.gaierror(-2, "x"), "its name cannot be resolved"),
        (ssl.SSLError(1, "x"), "TLS fails: SSLError"),
        (ConnectionError(), "the connection broke"),
        (ValueError("secret"), "ValueError"),
    ],
)
def test_why_there_is_no_connection_is_said_in_words(error, words):
    assert in_words(error) == words


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_password_is_the_file_without_its_line_end(tmp_path, mode):
    file = tmp_path / "password"
    file.write_bytes(b"secret word\n")
    file.chmod(mode)
    assert read_password(file) == b"secret word"


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [(b"secret", 0o644, "0644"), (b"secret", 0o660, "0660"), (b"\n", 0o600, "0 bytes"), (b"x" * 5000, 0o600, "4097"),
     (None, 0, "cannot be read")],
)  # fmt: skip
def test_a_password_that_others_know_or_that_is_none_is_not_used(tmp_path, content, mode, said):
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    with pytest.raises(DeliveryDeferred, match=said) as refused:
        read_password(file)
    assert "secret" not in str(refused.value)


def test_without_paho_the_message_names_the_extra(monkeypatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name="paho")

    monkeypatch.setattr(broker_module.importlib, "import_module", missing)
    with pytest.raises(BackendUnavailable, match=r"edge-runtime\[video\]"):
        load_paho()


def test_the_client_s_name_is_the_same_after_every_start_and_allowed_everywhere():
    one, other = Broker("a", 1, "site/or1"), Broker("a", 1, "site/or2")
    assert one.client_id == Broker("b", 2, "site/or1").client_id != other.client_id
    assert 1 <= len(one.client_id) <= 23 and one.client_id.isalnum()


def test_neither_two_destinations_nor_two_daemons_have_the_same_client_s_name(tmp_path):
    def client_id(name: str, spool: Path) -> str:
        destination = Destination(name, "mqtt", host="a", port=1, topic="site/or1")
        return build_broker(destination, spool).client_id

    one = client_id("b1", tmp_path / "one")
    assert one == client_id("b1", tmp_path / "one")
    assert len({one, client_id("b2", tmp_path / "one"), client_id("b1", tmp_path / "two")}) == 3
