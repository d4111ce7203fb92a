"""A real MQTT broker, and somebody who listens to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt
from support.pacs import free_port, is_open, wait_until

PROGRAM = "/usr/sbin/mosquitto"


class Mosquitto:
    """A broker on a port of its own. It may be killed, started again, and held still."""

    def __init__(self, folder: Path, *, user: str = "", password: str = "", tls_pem: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", f"allow_anonymous {str(not user).lower()}"]
        if user:
            passwords = folder / "passwords"
            subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), user, password], check=True)
            passwords.chmod(0o644)  # as root, the broker becomes another user before it reads them
            lines.append(f"password_file {passwords}")
        if tls_pem is not None:
            lines += [f"certfile {tls_pem}", f"keyfile {tls_pem}"]
        if os.geteuid() == 0:
            lines.append("user root")
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [PROGRAM, "-c", str(self._configuration)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: is_open(self.port))

    def kill(self) -> None:
        """End it without a word."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._process = None

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """It has its connections, and does nothing with them."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    @contextlib.contextmanager
    def running(self) -> Iterator[Mosquitto]:
        """Started, and killed in the end."""
        self.start()
        try:
            yield self
        finally:
            if self._process is not None:
                self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@dataclass(frozen=True)
class Heard:
    """A message, and when it came (CLOCK_MONOTONIC)."""

    at: float
    topic: str
    payload: bytes

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.payload))


class Listener:
    """Subscribes to everything, and again whenever the broker is back."""

    def __init__(self, port: int) -> None:
        self._heard: list[Heard] = []
        self._lock = threading.Lock()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="listener")
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._hear(message)
        self._client.reconnect_delay_set(1, 1)
        self._port = port
        self.subscribed = threading.Event()

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listener]:
        """Connected and subscribed."""
        self._client.connect("127.0.0.1", self._port, keepalive=60)
        self._client.loop_start()
        assert self.subscribed.wait(10)
        try:
            yield self
        finally:
            self._client.disconnect()
            self._client.loop_stop()
            self._client.reinitialise()  # closes what it has open

    def of(self, topic: str) -> list[Heard]:
        """What came on a topic so far."""
        with self._lock:
            return [heard for heard in self._heard if heard.topic == topic]

    def states(self, topic: str) -> list[str]:
        """What was said of the sender."""
        return [heard.payload.decode() for heard in self.of(f"{topic}/state")]

    def _hear(self, message: Any) -> None:
        with self._lock:
            self._heard.append(Heard(time.monotonic(), message.topic, message.payload))
