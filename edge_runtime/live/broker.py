"""One connection to an MQTT broker, version 3.1.1, used by one thread, which also does its reading.

A broker may take bytes and not look at them. So it is asked, every now and then, something that it must answer
(UNSUBSCRIBE of what nobody subscribed to: MQTT 3.1.1, 3.10.4), and the time without an answer is known.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import socket
import ssl
import stat
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import DeliveryDeferred
from edge_runtime.telemetry.logs import describe
from edge_runtime.video_packages import package_missing

KEEPALIVE_SECONDS = 5
"""After one and a half of it without a word from us, the broker says `offline` for us (MQTT 3.1.1, 3.1.2.10)."""

QUESTION_EVERY_SECONDS = 0.25
LONGEST_CONNECT_SECONDS = 5.0
_TAKE_SECONDS = 0.1
_CLOSE_SECONDS = 1.0
_STEP_SECONDS = 0.02
_SEND_BUFFER_BYTES = 65_536
_FORBIDDEN_MODE = stat.S_IWGRP | stat.S_IRWXO
_LONGEST_PASSWORD_BYTES = 4096


@dataclass(frozen=True)
class Broker:
    """Where to, and as whom. Results go to TOPIC/SOURCE; TOPIC/state holds `online` or `offline`, retained.

    `ca_file`: a private authority; None, those of the system. `owner`: tells this destination of this daemon from
    every other on this computer.
    """

    host: str
    port: int
    topic: str
    user: str | None = None
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    timeout_seconds: float = LONGEST_CONNECT_SECONDS
    owner: str = ""
    name: str = ""  # of the destination, for the log

    @property
    def state_topic(self) -> str:
        """Where `online` and `offline` stand."""
        return f"{self.topic}/state"

    @property
    def client_id(self) -> str:
        """The same after every start, so that the broker ends what is left of an earlier connection first.

        23 letters and digits are what every broker takes (MQTT 3.1.1, 3.1.3.1), so what it is made of is hashed.
        """
        of = "\0".join((socket.gethostname(), self.owner, self.topic))
        return "edge" + hashlib.sha256(of.encode("utf-8", "surrogateescape")).hexdigest()[:19]


def load_paho() -> Any:
    """The module of paho's client.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        return importlib.import_module("paho.mqtt.client")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("paho"):
            raise
        raise package_missing("MQTT", "paho-mqtt") from error


class Connection:
    """An open connection. Every method may raise OSError or DeliveryDeferred; then it is to be aborted."""

    def __init__(self, broker: Broker, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._clock = clock
        self._paho = load_paho()
        self._socket: Any = None
        self._answer = ""
        self._asked_at: float | None = None
        self._next_question_at = 0.0
        self._client = self._new_client()

    def open(self) -> None:
        """Connect, wait for the broker's consent, say `online`, and wait until it has heard that.

        Raises:
            OSError, DeliveryDeferred: the broker is away, does not answer or refuses; the password cannot be read.
        """
        broker, client = self._broker, self._client
        if broker.user is not None:
            assert broker.password_file is not None
            client.username_pw_set(broker.user, read_password(broker.password_file).decode("utf-8", "surrogateescape"))
        if broker.tls:
            client.tls_set_context(_trusting(broker.ca_file))
        try:
            client.connect(broker.host, broker.port, KEEPALIVE_SECONDS)
        except ssl.SSLCertVerificationError as error:
            raise DeliveryDeferred(f"the broker's certificate is not trusted: {error.verify_message}") from None
        if not self._turn_until(lambda: bool(self._answer), self._connect_seconds):
            raise TimeoutError
        if self._answer != "Success":
            raise DeliveryDeferred(f"the broker refuses the connection: {self._answer}")
        online = client.publish(broker.state_topic, "online", qos=1, retain=True)
        if not self._turn_until(online.is_published, self._connect_seconds):
            raise TimeoutError

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send one message with QoS 0; False where the broker's end did not take it: then what is left must go."""
        message = self._client.publish(topic, payload, qos=0)
        if message.rc not in (self._paho.MQTT_ERR_SUCCESS, self._paho.MQTT_ERR_AGAIN):
            raise ConnectionError
        return self._turn_until(message.is_published, _TAKE_SECONDS)

    def ask(self) -> None:
        """Ask the broker for a sign of life, unless it was asked a moment ago."""
        now = self._clock()
        if self._asked_at is None and now >= self._next_question_at:
            self._asked_at, self._next_question_at = now, now + QUESTION_EVERY_SECONDS
            self._client.unsubscribe(self._broker.state_topic)

    @property
    def silent_seconds(self) -> float:
        """For how long a question has been without its answer."""
        return 0.0 if self._asked_at is None else self._clock() - self._asked_at

    def turn(self, seconds: float = 0.0) -> None:
        """Read and write what there is, waiting up to `seconds` for it.

        Raises:
            ConnectionError: it is broken.
        """
        if self._client.loop(seconds) != self._paho.MQTT_ERR_SUCCESS:
            raise ConnectionError

    def close(self) -> None:
        """Say `offline`, and leave; a broker that does not listen is left after a second."""
        try:
            last = self._client.publish(self._broker.state_topic, "offline", qos=1, retain=True)
            if self._turn_until(last.is_published, _CLOSE_SECONDS):
                self._client.disconnect()
        finally:
            self.abort()

    def abort(self) -> None:
        """Reset the connection: nothing that still waits in it is sent. The broker then says `offline` for us."""
        if self._socket is not None and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()
        self._client.reinitialise()  # closes what it has open for itself

    @property
    def _connect_seconds(self) -> float:
        return min(self._broker.timeout_seconds, LONGEST_CONNECT_SECONDS)

    def _new_client(self) -> Any:
        paho, broker = self._paho, self._broker
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=broker.client_id)
        client.connect_timeout = self._connect_seconds
        client.will_set(broker.state_topic, "offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_socket_open = self._on_socket_open
        client.on_unsubscribe = self._on_answer
        return client

    def _turn_until(self, done: Callable[[], bool], seconds: float) -> bool:
        until = self._clock() + seconds
        while not done():
            if self._clock() >= until:
                return False
            self.turn(_STEP_SECONDS)
        return True

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._answer = str(reason)

    def _on_socket_open(self, _client: Any, _data: Any, opened: Any) -> None:
        self._socket = opened
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def _on_answer(self, *_said: Any) -> None:
        self._asked_at = None


def read_password(file: Path) -> bytes:
    """The file's bytes without white space at the end.

    Raises:
        DeliveryDeferred: the file is missing, readable by every user, writable by others, empty or too long.
    """
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            password = stream.read(_LONGEST_PASSWORD_BYTES + 1).rstrip()
    except OSError as error:
        raise DeliveryDeferred(f"password_file cannot be read: {error.strerror}") from None
    if mode & _FORBIDDEN_MODE:
        permitted = f"has mode {stat.S_IMODE(mode):04o}, so that others can read or change it; chmod 0600"
        raise DeliveryDeferred(f"password_file {permitted}")
    if not 1 <= len(password) <= _LONGEST_PASSWORD_BYTES:
        raise DeliveryDeferred(f"password_file holds {len(password)} bytes; a password has 1 to 4096")
    return password


def in_words(error: Exception) -> str:
    """Why there is no connection, for the log."""
    if isinstance(error, DeliveryDeferred):
        return str(error)
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {getattr(error, 'reason', None) or type(error).__name__}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return "the connection broke" if isinstance(error, ConnectionError) else describe(error)


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DeliveryDeferred(f"ca_file cannot be used: {reason}") from None
    context.sslsocket_class = _ClosingSocket
    return context


class _ClosingSocket(ssl.SSLSocket):
    """paho leaves a socket open whose handshake failed."""

    def do_handshake(self, block: bool = False) -> None:
        """See `ssl.SSLSocket`."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise
