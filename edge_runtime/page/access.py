"""From the `http` section to what guards the page: a TLS context and a login, checked before the daemon starts."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.config import Http
from edge_runtime.errors import ConfigurationError
from edge_runtime.page.login import LoginGate, read_password_file


@dataclass(frozen=True)
class Access:
    """What a connection must pass: None where nothing is asked."""

    tls: ssl.SSLContext | None = None
    gate: LoginGate | None = None


def load_access(http: Http, on_failure: Callable[[], None] = lambda: None) -> Access:
    """Read certificate, key and password file. `on_failure` is called after each wrong login.

    Raises:
        ConfigurationError: one of the files cannot be read or is not what it should be.
    """
    gate = None
    if http.login is not None:
        gate = LoginGate(http.login.user, read_password_file(Path(http.login.password_file)), on_failure)
    return Access(None if http.tls is None else _context(http.tls.certificate, http.tls.key), gate)


def _context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the library's choice of ciphers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, file in (("certificate", certificate), ("key", key)):
        if not Path(file).is_file():
            raise ConfigurationError(f"http.tls.{name}: there is no file {file}")
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = error.reason if isinstance(error, ssl.SSLError) else error
        raise ConfigurationError(
            f"http.tls: {certificate} and {key} cannot be used together ({why}); they must be a PEM certificate and "
            "its PEM key without a passphrase, readable by the daemon's user"
        ) from error
    return context
