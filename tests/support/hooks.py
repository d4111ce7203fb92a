"""Receivers of webhooks that answer as told, over HTTP and over TLS with an authority made here."""

from __future__ import annotations

import contextlib
import datetime
import hmac
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.pacs import serving

from edge_runtime import config

KEY = b"0123456789abcdef0123456789abcdef"


def write_key(path: Path, mode: int = 0o600) -> Path:
    """A file with the key, as `openssl rand -hex` leaves it."""
    path.write_bytes(KEY + b"\n")
    path.chmod(mode)
    return path


def hook_settings(folder: Path, url: str, **keys: Any) -> config.Destination:
    """A destination `alert` whose key is in `folder`."""
    values = {"secret_file": str(write_key(folder / "alert.key")), "timeout_seconds": 5.0, **keys}
    return config.Destination("alert", "webhook", url=url, **values)


@dataclass(frozen=True)
class Post:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def signed_at(self) -> int:
        return int(self.headers["Edge-Signature"].partition(",")[0].removeprefix("t="))

    def is_signed(self, key: bytes = KEY) -> bool:
        """Whether the signature is that of the key, computed as docs/webhook.md tells a receiver."""
        t, v1 = (part.split("=", 1)[1] for part in self.headers["Edge-Signature"].split(","))
        return hmac.compare_digest(v1, hmac.new(key, t.encode() + b"." + self.body, "sha256").hexdigest())


def accept(_number: int) -> tuple[int, dict[str, str]]:
    return 200, {}


@dataclass
class StubHook:
    """A receiver. `answer` makes (status, headers) from the number of the request, which counts from 1."""

    answer: Callable[[int], tuple[int, dict[str, str]]] = accept
    tls: ssl.SSLContext | None = None
    port: int = 0
    posts: list[Post] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[StubHook]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stub.posts.append(Post(self.path, dict(self.headers.items()), body))
                status, headers = stub.answer(len(stub.posts))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Stay quiet."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_args: object) -> None:
                """A client that does not trust us."""

        server = Server(("127.0.0.1", self.port), Handler)
        if self.tls is not None:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_address[1]
        with serving(server):
            yield self


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder: `ca.pem`, and a context for a server that it vouches for."""

    ca_file: Path
    server: ssl.SSLContext


def make_authority(folder: Path, host: str = "127.0.0.1") -> Authority:
    """An authority and a server's certificate for `host`."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test Authority")])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    ca = _certificate(ca_name, ca_name, ca_key.public_key(), ca_key, x509.BasicConstraints(True, None))
    mine = _certificate(name, ca_name, key.public_key(), ca_key, alternative)
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(mine.public_bytes(Encoding.PEM) + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return Authority(folder / "ca.pem", server)


def _certificate(subject: x509.Name, issuer: x509.Name, key: Any, signer: Any, extension: Any) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(
        issuer, subject, key, x509.random_serial_number(), now - datetime.timedelta(days=1),
        now + datetime.timedelta(days=1),
    )  # fmt: skip
    identifiers = [
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    ]
    for one, critical in [(extension, True), *identifiers]:
        builder = builder.add_extension(one, critical)
    return builder.sign(signer, SHA256())
