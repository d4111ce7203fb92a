"""Who may look at the page: HTTP Basic (RFC 7617) against a scrypt hash (RFC 7914), failed attempts slowed.

The arithmetic takes its clock from outside; `edge-runtime password` writes the file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import math
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ConfigurationError

REALM = "Edge Runtime"
SHORTEST_PASSWORD = 12
_LOG2_N, _R, _P = 15, 8, 1  # 32 MiB and about 0.1 s an attempt
_FREE_FAILURES = 2
_LONGEST_WAIT_SECONDS = 60.0
_FORGET_SECONDS = 600.0
_REMEMBERED_ADDRESSES = 1000
_QUEUE_SECONDS = 2.0  # one hash is computed at a time


@dataclass(frozen=True)
class PasswordHash:
    """scrypt of a password with its cost; the text form is `scrypt$LOG2N$R$P$SALT$KEY`, the last two in Base64."""

    log2_n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    def __post_init__(self) -> None:
        if not (10 <= self.log2_n <= 20 and 1 <= self.r <= 16 and 1 <= self.p <= 4):
            raise ValueError("its cost is out of range")
        if len(self.salt) < 16 or len(self.key) != 32:
            raise ValueError("its salt or its key is too short")

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        """The hash of a new password, with a salt of its own."""
        salt = secrets.token_bytes(16)
        return cls(_LOG2_N, _R, _P, salt, _scrypt(password.encode(), salt, _LOG2_N, _R, _P))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Read the text form.

        Raises:
            ValueError: it is none.
        """
        try:
            name, log2_n, r, p, salt, key = text.strip().split("$")
            decoded = [base64.b64decode(part, validate=True) for part in (salt, key)]
        except (ValueError, binascii.Error):
            raise ValueError("it is not the line that `edge-runtime password` writes") from None
        if name != "scrypt" or not all(part.isascii() and part.isdigit() for part in (log2_n, r, p)):
            raise ValueError("it is not the line that `edge-runtime password` writes")
        return cls(int(log2_n), int(r), int(p), *decoded)

    def __str__(self) -> str:
        salt, key = (base64.b64encode(part).decode() for part in (self.salt, self.key))
        return f"scrypt${self.log2_n}${self.r}${self.p}${salt}${key}"

    def fits(self, password: bytes) -> bool:
        """Whether this is the hash of `password`, in a time that does not tell how close it was."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.log2_n, self.r, self.p), self.key)


def _scrypt(password: bytes, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    cost = 128 * r * (2**log2_n + p + 2)
    return hashlib.scrypt(password, salt=salt, n=2**log2_n, r=r, p=p, maxmem=cost + 1_000_000, dklen=32)


def read_password_file(path: Path) -> PasswordHash:
    """The hash in a file.

    Raises:
        ConfigurationError: the file cannot be read or holds no hash.
    """
    try:
        return PasswordHash.parse(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, UnicodeDecodeError):
            why = "it is not the line that `edge-runtime password` writes"
        raise ConfigurationError(
            f"http.login.password_file: {path}: {why}; write it with: edge-runtime password {path}"
        ) from error


def write_password_file(path: Path, password: str) -> None:
    """Put the hash of a password into a file of mode 0600, replacing it as a whole.

    Raises:
        ConfigurationError: the password is too short, or the file cannot be written.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise ConfigurationError(f"the password must have at least {SHORTEST_PASSWORD} characters")
    part = path.with_name(f".{path.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{PasswordHash.of(password)}\n")
        part.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error


def basic_credentials(header: str) -> tuple[bytes, bytes] | None:
    """User and password of an Authorization header, or None where it is no Basic one (RFC 7617 section 2)."""
    scheme, _, text = header.partition(" ")
    if scheme.casefold() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
    except (ValueError, binascii.Error):
        return None
    return (user, password) if colon else None


def wait_after(failures: int) -> float:
    """Seconds until the next attempt counts, after that many failures in a row: none, then 1, 2, 4, ... 60."""
    if failures <= _FREE_FAILURES:
        return 0.0
    return min(2.0 ** (min(failures, 30) - _FREE_FAILURES - 1), _LONGEST_WAIT_SECONDS)


def client_of(address: str) -> str:
    """Whose failures are counted together: an IPv4 address, the /64 of an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


@dataclass(frozen=True)
class Verdict:
    """Whether a request may go on; else how long to wait before the next attempt, in seconds (0: try again)."""

    allowed: bool
    wait_seconds: float = 0.0


class LoginGate:
    """Judges the Authorization header of every request. Safe for many threads.

    Credentials that were right once are known again without the cost of scrypt. After two failures a client waits
    longer and longer, and what it sends meanwhile is not even looked at; other clients do not wait for it.
    """

    def __init__(
        self,
        user: str,
        password: PasswordHash,
        on_failure: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._user = user.encode()
        self._password = password
        self._on_failure = on_failure
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._known: bytes | None = None
        self._hashing = threading.Lock()  # one at a time; guards what follows
        self._failures: dict[str, tuple[int, float]] = {}  # client -> how many, when the last

    def judge(self, header: str | None, address: str) -> Verdict:
        """The verdict on a request with that Authorization header from that address."""
        if header is None:
            return Verdict(allowed=False)
        mark = hmac.digest(self._secret, header.encode("utf-8", "surrogateescape"), "sha256")
        if self._known is not None and hmac.compare_digest(self._known, mark):
            return Verdict(allowed=True)
        if not self._hashing.acquire(timeout=_QUEUE_SECONDS):
            return Verdict(allowed=False, wait_seconds=1.0)
        try:
            return self._look(header, mark, client_of(address))
        finally:
            self._hashing.release()

    def _look(self, header: str, mark: bytes, client: str) -> Verdict:
        wait = self._wait(client)
        if wait > 0:
            return Verdict(allowed=False, wait_seconds=wait)
        user, password = basic_credentials(header) or (b"", b"")
        fits = self._password.fits(password)  # also for a wrong user: the time must not tell which was wrong
        if not (hmac.compare_digest(user, self._user) and fits):
            return Verdict(allowed=False, wait_seconds=self._failed(client))
        self._known = mark
        self._failures.pop(client, None)
        return Verdict(allowed=True)

    def _wait(self, client: str) -> float:
        count, last = self._failures.get(client, (0, -math.inf))
        return max(0.0, last + wait_after(count) - self._clock())

    def _failed(self, client: str) -> float:
        now = self._clock()
        for old in [c for c, (_, last) in self._failures.items() if now - last > _FORGET_SECONDS]:
            del self._failures[old]
        count = self._failures.pop(client, (0, 0.0))[0] + 1
        self._failures[client] = (count, now)
        if len(self._failures) > _REMEMBERED_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._on_failure()
        return wait_after(count)
