"""Which path gives what. The page's own paths ask for a Host that is this computer, unless there is a login."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from typing import Protocol

from edge_runtime.page.server import Answer, Request
from edge_runtime.telemetry.health import Views

_PATHS = "/livez, /readyz, /metrics and /"
_STATIC = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Page(Protocol):
    """What the page shows."""

    def status(self) -> bytes:
        """The status document as JSON."""

    def thumbnail(self, name: str) -> bytes | None:
        """The PNG of that file name, or None where there is none to show."""


class Video(Protocol):
    """The live pictures."""

    def watch(self, source: str) -> Answer | None:
        """The stream of a source, or None where there is no such source."""


def health_answer(views: Views, request: Request) -> Answer | None:
    """The answer of `/livez`, `/readyz` and `/metrics`; None for other paths."""
    if request.path == "/livez":
        alive = views.alive()
        text = b"ok\n" if alive else b"the supervisor's loop stands still\n"
        return Answer(200 if alive else 503, "text/plain", text)
    if request.path == "/readyz":
        reasons = [asdict(reason) for reason in views.reasons()]
        return Answer(503 if reasons else 200, "application/json", json.dumps(reasons).encode() + b"\n")
    if request.path == "/metrics":
        return Answer(200, "text/plain; version=0.0.4; charset=utf-8", views.metrics())
    return None


def metrics_only(views: Views) -> Callable[[Request], Answer]:
    """The routes of `http.metrics`."""

    def route(request: Request) -> Answer:
        return health_answer(views, request) or _not_found("/livez, /readyz and /metrics")

    return route


def everything(views: Views, page: Page, any_host: bool, video: Video | None = None) -> Callable[[Request], Answer]:
    """The routes of `http`. `any_host`: a login guards them, and it does not matter by which name they are asked."""
    folder = files(__package__) / "static"
    static = {path: (kind, (folder / name).read_bytes()) for path, (name, kind) in _STATIC.items()}

    def route(request: Request) -> Answer:
        health = health_answer(views, request)
        if health is not None:
            return health
        if not any_host and not is_this_computer(request.host):
            return Answer(421, "text/plain", b"ask for localhost or for the address: a name may be anybody's\n")
        if request.path in static:
            return Answer(200, *static[request.path])
        if request.path == "/api/status":
            return Answer(200, "application/json", page.status())
        parent, _, name = request.path.rpartition("/")
        if parent == "/live" and video is not None:
            return video.watch(name) or _not_found(_PATHS)
        picture = page.thumbnail(name) if parent == "/thumbnails" else None
        return _not_found(_PATHS) if picture is None else Answer(200, "image/png", picture)

    return route


def is_this_computer(host: str) -> bool:
    """Whether a Host header (RFC 9110 section 7.2) names no domain: a page of another site cannot have it.

    A name that another site makes point here (DNS rebinding) is refused: only addresses and `localhost` are taken.
    """
    name = host.strip().casefold()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _not_found(known: str) -> Answer:
    return Answer(404, "text/plain", f"not found; there are {known}\n".encode())
