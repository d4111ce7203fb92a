"""Where results go."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edge_runtime.config.http import is_loopback
from edge_runtime.config.rules import NAME, ae_title, port_number, require

LIVE_DESTINATIONS = ("jsonlines", "mqtt", "recording")
"""Types that get every live frame's result, as it is made; nothing of it is stored in the spool."""

_DESTINATION_KEYS = {
    "dicom": ("ae_title", "host", "port"),
    "dicomweb": ("url",),
    "folder": ("path",),
    "webhook": ("url", "secret_file"),
    "jsonlines": ("path",),
    "mqtt": ("host", "port", "topic"),
    "recording": ("path",),
}
_DESTINATION_OPTIONS: dict[str, tuple[str | tuple[str, ...], object]] = {
    "user": ("mqtt", None),
    "password_file": ("mqtt", None),
    "tls": ("mqtt", False),
    "calling_ae_title": ("dicom", None),
    "segment_seconds": (("jsonlines", "recording"), 600.0),
    "keep_bytes": (("jsonlines", "recording"), 10_000_000_000),
    "ca_file": (("webhook", "mqtt"), None),
    "announce": ("webhook", "positive"),
    "identifiers": ("webhook", "none"),
}
"""Keys of one type with their defaults."""


def _webhook_url(url: str) -> None:
    """A key on its way over a network is safe in TLS only, and a password in an address is in every log."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"url: {error}") from error
    require(bool(host), "url", "names no host")
    require("@" not in parts.netloc, "url", "holds no user or password: events are signed with secret_file")
    safe = parts.scheme == "https" or is_loopback(host)
    require(safe, "url", "starts with https://; http:// is for this computer only")


@dataclass(frozen=True)
class Destination:
    name: str
    type: str = field(metadata={"choices": tuple(_DESTINATION_KEYS)})
    ae_title: str | None = None
    calling_ae_title: str | None = None  # absent: receive.dicom.ae_title
    host: str | None = None
    port: int | None = None
    url: str | None = None
    path: str | None = None
    secret_file: str | None = None
    ca_file: str | None = None  # absent: the authorities of the system
    topic: str | None = None  # results of a source go to TOPIC/SOURCE
    user: str | None = None
    password_file: str | None = None
    tls: bool = False
    segment_seconds: float = 600.0  # of one recorded file
    keep_bytes: int = 10_000_000_000  # of all recordings, or of all lines, in the folder: the oldest go first
    announce: str = field(default="positive", metadata={"choices": ("positive", "all")})
    identifiers: str = field(default="none", metadata={"choices": ("none", "accession")})
    timeout_seconds: float = 30.0
    retry_seconds: float = 2.0  # first wait after a failure; doubles to retry_maximum_seconds
    retry_maximum_seconds: float = 300.0

    def __post_init__(self) -> None:
        require(NAME.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        for key in dict.fromkeys(key for keys in _DESTINATION_KEYS.values() for key in keys):
            given = getattr(self, key)
            if key in _DESTINATION_KEYS[self.type]:
                require(given not in (None, ""), key, f"a destination of type {self.type} needs it")
            else:
                require(given is None, key, f"means nothing to a destination of type {self.type}")
        for key, (kinds, default) in _DESTINATION_OPTIONS.items():
            named = (kinds,) if isinstance(kinds, str) else kinds
            require(self.type in named or getattr(self, key) == default, key, f"is of type {' or '.join(named)} only")
        require(self.segment_seconds > 0, "segment_seconds", "must be positive")
        require(self.keep_bytes > 0, "keep_bytes", "must be positive")
        if self.topic is not None:
            require(not set("#+\0") & set(self.topic), "topic", "must hold no wildcard")
        require(self.user is None or self.password_file is not None, "password_file", "belongs to a user")
        for key in ("ae_title", "calling_ae_title"):
            if getattr(self, key) is not None:
                ae_title(key, getattr(self, key))
        if self.port is not None:
            port_number("port", self.port)
        if self.url is not None:
            require(self.url.startswith(("http://", "https://")), "url", "starts with http:// or https://")
            if self.type == "webhook":
                _webhook_url(self.url)
        require(self.timeout_seconds > 0, "timeout_seconds", "must be positive")
        require(0 < self.retry_seconds <= self.retry_maximum_seconds, "retry_seconds",
                "is positive and at most retry_maximum_seconds")  # fmt: skip
