"""The HTTP server: GET only, a bounded number of short connections, TLS and login where they are asked for.

Every answer ends its connection. One that lasts too long is cut off, and when all places are taken the oldest
connection makes room: clients that are slow or silent keep nobody waiting. That goes for streams too.
"""

from __future__ import annotations

import logging
import math
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Protocol

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.page.access import Access
from edge_runtime.page.login import REALM
from edge_runtime.telemetry.logs import describe

log = logging.getLogger("edge_runtime.http")

CONNECTIONS = 64
SILENCE_SECONDS = 10.0
LONGEST_SECONDS = 20.0
STREAM_SILENCE_SECONDS = 3.0
_UNSENT_BYTES = 16_384
"""What a stream may have lying unsent in the kernel: more would be a queue."""
_IN_FLIGHT_BYTES = 262_144

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True)
class Request:
    """A GET: its path without the query, and the Host that the client believes to speak to ("" where it says none)."""

    path: str
    host: str


class Stream(Protocol):
    """A body that is made while it is sent: each part is asked for when the connection has taken the one before."""

    def __iter__(self) -> Iterator[bytes]:
        """The parts. It ends by itself, well within `LONGEST_SECONDS`."""

    def close(self) -> None:
        """Called once the connection is over, whether or not anything was asked for."""


@dataclass(frozen=True)
class Answer:
    """A response: its body, or the stream of it."""

    status: int
    content_type: str
    body: bytes | Stream
    headers: Mapping[str, str] = field(default_factory=dict)


Route = Callable[[Request], Answer]


class HttpServer:
    """Serves `route` in threads of its own, from construction to `close`. `name` is the section of the configuration.

    Raises:
        EdgeRuntimeError: the address cannot be bound.
    """

    def __init__(self, name: str, address: tuple[str, int], route: Route, access: Access | None = None) -> None:
        host, port = address
        try:
            self._server = _Server((host, port), route, access or Access())
        except OSError as error:
            raise EdgeRuntimeError(
                f"{name}: {host}:{port} cannot be used: {error.strerror}; change {name}.host or {name}.port"
            ) from error
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name=name, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], route: Route, access: Access) -> None:
        self.route = route
        self.access = access
        self._lock = threading.Lock()
        self._open: dict[int, tuple[socket.socket, float]] = {}  # thread of the connection, or of its accepted socket
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server for our own name, which may take a minute where there is none."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, and when all places are taken let the oldest one end."""
        with self._lock:
            oldest = min(self._open, key=lambda key: self._open[key][1], default=None)
            if len(self._open) >= CONNECTIONS and oldest is not None:
                _cut(self._open[oldest][0])
            full = len(self._open) >= 2 * CONNECTIONS  # those cut off have not ended yet
            if not full:
                self._open[id(request)] = (request, time.monotonic())
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak with one client, in the connection's thread."""
        request.settimeout(SILENCE_SECONDS)
        if self.access.tls is None:
            _Handler(request, client_address, self)
            return
        with self.access.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as secured:
            with self._lock:
                began = self._open[id(request)][1]
                self._open[id(request)] = (secured, began)
            try:
                secured.do_handshake()
            except OSError as error:  # ssl.SSLError is one
                log.debug("no TLS with a client", extra={"event": {"error": describe(error)}})
                return
            _Handler(secured, client_address, self)

    def shutdown_request(self, request: Any) -> None:
        """The connection is over."""
        with self._lock:
            self._open.pop(id(request), None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called several times a second: cut off what lasts too long, whatever it does."""
        with self._lock:
            for connection, began in self._open.values():
                if time.monotonic() - began > LONGEST_SECONDS:
                    _cut(connection)

    def handle_error(self, _request: object, _client_address: object) -> None:
        """A client that went away, or a view that failed: one line."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, (ConnectionError, ssl.SSLError, TimeoutError)):
            log.error("http request failed", extra={"event": {"error": describe(error)}})


def _cut(connection: socket.socket) -> None:
    """End a connection under its thread's feet. Not by the method of a TLS socket, which would forget its keys."""
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # it has ended already


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "edge-runtime"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one request."""
        refusal = self._refusal()
        self._send(refusal or self.server.route(Request(self.path.split("?")[0], self.headers.get("Host", ""))))

    def _refusal(self) -> Answer | None:
        gate = self.server.access.gate
        if gate is None:
            return None
        verdict = gate.judge(self.headers.get("Authorization"), str(self.client_address[0]))
        if verdict.allowed:
            return None
        if verdict.wait_seconds > 0:
            wait = str(math.ceil(verdict.wait_seconds))
            return Answer(429, "text/plain", b"too many failed logins; wait\n", {"Retry-After": wait})
        ask = {"WWW-Authenticate": f'Basic realm="{REALM}", charset="UTF-8"'}
        return Answer(401, "text/plain", b"a login is needed\n", ask)

    def _send(self, answer: Answer) -> None:
        if isinstance(answer.body, bytes):
            self._send_head(answer, {"Content-Length": str(len(answer.body))})
            self.wfile.write(answer.body)
            return
        with closing(answer.body) as stream:
            self._hold_no_queue()
            self._send_head(answer, {})
            for part in stream:
                self.wfile.write(part)

    def _send_head(self, answer: Answer, more: Mapping[str, str]) -> None:
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.content_type, **more, **_HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _hold_no_queue(self) -> None:
        """Writing waits until the network has taken nearly all: the next part is made when it can go (tcp(7))."""
        self.connection.settimeout(STREAM_SILENCE_SECONDS)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _IN_FLIGHT_BYTES)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Requests are not logged: a path may carry anything."""

    def log_error(self, *_args: object) -> None:
        """Nor are the faulty ones."""
