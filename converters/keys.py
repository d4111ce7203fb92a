"""Ed25519 keys that sign passports (RFC 8032), as PEM files."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from edge_runtime.errors import ConfigurationError


def make_key(file: Path) -> str:
    """Write a new private key (mode 0600); returns its public half in hexadecimal.

    Raises:
        ConfigurationError: there is such a file; a key is never overwritten.
    """
    if file.exists():
        raise ConfigurationError(f"{file} exists, and a key is never overwritten; choose another name")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem)
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def read_key(file: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"--key {file} cannot be read as an Ed25519 private key (PEM): {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"--key {file} is no Ed25519 key; make one with edge-convert keygen")
    return key
