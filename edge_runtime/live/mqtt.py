"""Results of live frames to an MQTT broker, QoS 0. See docs/live-outputs.md.

What a broker does not take while it is news is lost, and counted: a message that comes late would look like news.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from edge_runtime.errors import DeliveryDeferred
from edge_runtime.live.broker import Broker, Connection, in_words, load_paho
from edge_runtime.live.event import event_line
from edge_runtime.live.sinks import Entry

log = logging.getLogger("edge_runtime.live")

DEPTH = 8
"""Results of one source that wait while the broker is connected to."""

SHORTEST_PATIENCE_SECONDS = 0.5
"""A broker that leaves a question unanswered for longer than this, and than the display age, is left."""

LONGEST_WAIT_SECONDS = 10.0
"""Between two attempts to connect."""


class MqttWriter:
    """Connects, for ever if need be, and publishes what is not too old. `display_ages`: seconds, by source."""

    def __init__(
        self,
        broker: Broker,
        display_ages: Mapping[str, float],
        retry_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[Broker], Connection] = Connection,
    ) -> None:
        load_paho()
        self._broker = broker
        self._display_ages = display_ages
        self._patience_seconds = max(SHORTEST_PATIENCE_SECONDS, *display_ages.values())
        self._first_wait_seconds = self._wait_seconds = min(retry_seconds, LONGEST_WAIT_SECONDS)
        self._clock = clock
        self._connect = connect
        self._connection: Connection | None = None
        self._retry_at = 0.0
        self._said = ""

    def write(self, entry: Entry) -> str:
        """Publish one result, if it is not too old and the broker is there."""
        if self._is_stale(entry):
            return "stale"
        connection = self._connected()
        if connection is None:
            return "lost"
        if self._is_stale(entry):  # connecting took its time
            return "stale"
        try:
            return self._send(connection, entry)
        except (OSError, ValueError) as error:
            self._drop(error)
            return "lost"

    def idle(self) -> None:
        """Keep the connection alive, or connect: who listens is to know whether we are there."""
        self._connected()

    def close(self) -> None:
        """Say `offline` and leave."""
        if self._connection is not None:
            self._connection.close()

    def _send(self, connection: Connection, entry: Entry) -> str:
        connection.ask()
        payload = event_line(entry.result).rstrip(b"\n")
        if not connection.publish(f"{self._broker.topic}/{entry.result.source}", payload):
            raise TimeoutError  # it waits half sent; with the connection it goes
        return "sent"

    def _connected(self) -> Connection | None:
        """The connection, after what came in on it was read; None where there is none, or none yet."""
        try:
            if self._connection is not None:
                self._connection.turn()
                if self._connection.silent_seconds > self._patience_seconds:
                    raise TimeoutError  # with the connection goes what the broker took and did not look at
            elif self._clock() >= self._retry_at:
                self._connection = self._connect(self._broker)
                self._connection.open()
                self._wait_seconds, self._said = self._first_wait_seconds, ""
                log.info("connected to the broker", extra={"event": self._event})
        except (OSError, ValueError, DeliveryDeferred) as error:
            self._drop(error)
        return self._connection

    def _drop(self, error: Exception) -> None:
        """Reset the connection and wait before the next, longer each time; the same trouble is told once."""
        if self._connection is not None:
            self._connection.abort()
        self._connection = None
        self._retry_at = self._clock() + self._wait_seconds
        self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)
        said = in_words(error)
        if said != self._said:
            log.error("no connection to the broker", extra={"event": {**self._event, "error": said}})
        self._said = said

    @property
    def _event(self) -> dict[str, str]:
        broker = self._broker
        return {"destination": broker.name, "broker": f"{broker.host}:{broker.port}"}

    def _is_stale(self, entry: Entry) -> bool:
        result = entry.result
        return self._clock() - result.captured_at > self._display_ages[result.source]
