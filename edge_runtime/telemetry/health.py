"""`/livez`, `/readyz`, `/metrics` and the page at `/`; and what systemd is told."""

from __future__ import annotations

import html
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from edge_runtime.config import Http
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.telemetry.logs import describe

log = logging.getLogger("edge_runtime.health")


@dataclass(frozen=True)
class Reason:
    """Why the daemon is not ready."""

    role: str
    reason: str


@dataclass(frozen=True)
class Views:
    """What the server asks for at each request."""

    alive: Callable[[], bool]
    reasons: Callable[[], list[Reason]]
    metrics: Callable[[], bytes]
    roles: Callable[[], list[tuple[str, str]]]


class HealthServer:
    """The HTTP server of the supervisor.

    Raises:
        EdgeRuntimeError: the address cannot be bound.
    """

    def __init__(self, http: Http, views: Views) -> None:
        class Handler(_Handler):
            pass

        Handler.views = views
        try:
            self._server = _Server((http.host, http.port), Handler)
        except OSError as error:
            raise EdgeRuntimeError(
                f"http: {http.host}:{http.port} cannot be used: {error.strerror}; change http.host or http.port"
            ) from error
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """Bind without asking a name server for our own name, which may take a minute where there is none."""
        TCPServer.server_bind(self)

    def handle_error(self, _request: object, _client_address: object) -> None:
        """A client that went away, or a view that failed: one line."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            log.error("http request failed", extra={"event": {"error": describe(error)}})


class _Handler(BaseHTTPRequestHandler):
    views: Views
    timeout = 10.0
    server_version = "edge-runtime"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one of the four paths."""
        route = self.path.split("?")[0]
        if route == "/livez":
            alive = self.views.alive()
            self._answer(
                200 if alive else 503, "text/plain", b"ok\n" if alive else b"the supervisor's loop stands still\n"
            )
        elif route == "/readyz":
            reasons = [asdict(reason) for reason in self.views.reasons()]
            self._answer(503 if reasons else 200, "application/json", json.dumps(reasons).encode() + b"\n")
        elif route == "/metrics":
            self._answer(200, "text/plain; version=0.0.4; charset=utf-8", self.views.metrics())
        elif route == "/":
            self._answer(200, "text/html; charset=utf-8", _page(self.views).encode())
        else:
            self._answer(404, "text/plain", b"not found; there are /, /livez, /readyz and /metrics\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Requests are not logged: a path may carry anything."""

    def log_error(self, *_args: object) -> None:
        """Nor are the faulty ones."""


def _page(views: Views) -> str:
    """Roles with their states, and the reasons why the daemon is not ready."""
    rows = "".join(f"<tr><td>{html.escape(a)}<td>{html.escape(b)}" for a, b in views.roles())
    reasons = "".join(f"<li>{html.escape(r.role)}: {html.escape(r.reason)}" for r in views.reasons())
    state = f"<p>Not ready:<ul>{reasons}</ul>" if reasons else "<p>Ready."
    return (
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Edge Runtime</title><h1>Edge Runtime</h1>{state}<table>{rows}</table>"
        "<p><a href=/metrics>metrics</a> <a href=/readyz>readiness</a>"
    )


def notify_systemd(message: str) -> None:
    """Send `READY=1`, `WATCHDOG=1`, `STATUS=...` to systemd; nothing happens without it (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        try:
            end.sendto(message.encode(), socket.MSG_DONTWAIT, address)
        except OSError as error:
            log.debug("systemd does not listen", extra={"event": {"error": describe(error)}})
