"""The HTTP server: the page and the metrics."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from edge_runtime.config.rules import port_number, require


@dataclass(frozen=True)
class Tls:
    certificate: str
    key: str

    def __post_init__(self) -> None:
        for name in ("certificate", "key"):
            require(bool(getattr(self, name)), name, "name a file in PEM")


@dataclass(frozen=True)
class Login:
    user: str
    password_file: str

    def __post_init__(self) -> None:
        require(bool(self.user) and ":" not in self.user, "user", "name a user, without a colon")
        require(bool(self.password_file), "password_file", "name the file that `edge-runtime password` writes")


@dataclass(frozen=True)
class HttpMetrics:
    host: str = "127.0.0.1"
    port: int = 9465

    def __post_init__(self) -> None:
        require(bool(self.host), "host", "name an address; 127.0.0.1 is this computer only")
        port_number("port", self.port, 0)


def is_loopback(host: str) -> bool:
    """True for an address that only this computer reaches; any name but `localhost` may be anybody's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Http:
    host: str = "127.0.0.1"
    port: int = 9464
    tls: Tls | None = None
    login: Login | None = None
    metrics: HttpMetrics | None = None  # also serve what has no login elsewhere
    thumbnails: str = field(
        default="burned_in_annotation_no", metadata={"choices": ("never", "burned_in_annotation_no", "always")}
    )

    def __post_init__(self) -> None:
        require(bool(self.host), "host", "name an address; 127.0.0.1 is this computer only")
        port_number("port", self.port, 0)
        missing = [f"http.{name}" for name in ("tls", "login") if getattr(self, name) is None]
        require(is_loopback(self.host) or not missing, "host",
                f"the page beyond this computer needs {' and '.join(missing)}; "
                "metrics alone may go out by http.metrics")  # fmt: skip
