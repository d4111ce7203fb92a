"""Find built engines, and let none reach its library that is not the one its passport describes."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.domain import EngineIdentity
from edge_runtime.engines.card import CARD_FILE, Card, read_card
from edge_runtime.engines.golden import Golden, read_golden
from edge_runtime.engines.passport import (
    PASSPORT_FILE,
    FileRecord,
    Passport,
    PassportInvalid,
    Seal,
    TensorRecord,
    read_passport,
)
from edge_runtime.errors import ConfigurationError, EngineError, EngineRejected

PRECISIONS = ("fp32", "fp16", "int8")
_MAXIMUM_PASSPORT_BYTES = 1_000_000


@dataclass(frozen=True, eq=False)
class VerifiedEngine:
    """An engine whose hash, signature, card and target fit. `data` is the file, read once."""

    folder: Path
    card: Card
    card_sha256: str
    passport: Passport
    signed: bool
    data: bytes
    golden: Golden

    @property
    def identity(self) -> EngineIdentity:
        """What results say of this engine."""
        return EngineIdentity(
            name=self.passport.name,
            version=self.passport.version,
            sha256=self.passport.engine.sha256,
            precision=self.passport.precision.recipe,
            backend=f"{self.passport.target.flavour} {self.passport.target.flavour_version}",
            statement=self.card.intended_use,
        )


@dataclass(frozen=True)
class EngineStatus:
    """A line of `engines list`: a card and one of its built folders, or what is wrong with it."""

    name: str
    version: str
    task: str
    folder: Path | None  # None: a card without a built engine
    problem: str | None
    signed: bool = False


def rebuild_command(card_folder: Path, target: str, precision: str) -> str:
    """The command that builds an engine again."""
    folder = card_folder / f"{target}-{precision}"
    return f"edge-convert build {card_folder} --target {target} --precision {precision} --output {folder}"


def find_engine(engines: Path, name: str, target: str) -> Path:
    """The folder of the engine built for `target`; of several precisions the first of fp32, fp16, int8.

    Raises:
        ConfigurationError: there is no card of that name.
        EngineRejected: it was not built for the target; names the command that does it.
    """
    card_folder = engines / name
    if not (card_folder / CARD_FILE).is_file():
        known = sorted(p.parent.name for p in engines.glob(f"*/{CARD_FILE}"))
        raise ConfigurationError(
            f"engine {name}: {card_folder / CARD_FILE} is missing; {engines} has: {', '.join(known) or 'no cards'}"
        )
    for precision in PRECISIONS:
        folder = card_folder / f"{target}-{precision}"
        if (folder / PASSPORT_FILE).is_file():
            return folder
    raise EngineRejected(
        f"engine {name}: there is none built for {target}; run: {rebuild_command(card_folder, target, PRECISIONS[0])}"
    )


def verify(folder: Path, trusted_keys: Sequence[str], allow_unsigned: bool, name: str | None = None) -> VerifiedEngine:
    """Read a built engine once into memory and check it: seal, signature, card, sizes, hashes, then the target.

    No byte of the engine reaches a library here. `trusted_keys` are Ed25519 public keys, 64 hexadecimal digits each.
    `name` is what the caller asked for; absent, the name of the card's folder.

    Raises:
        EngineRejected: names the engine, what was expected, what was found, and the command that rebuilds.
        ConfigurationError: the card is missing or wrong.
    """
    card_folder = folder.parent
    expected_name = name or card_folder.name
    card, card_sha256 = read_card(card_folder)
    target, _, precision = folder.name.rpartition("-")
    command = rebuild_command(card_folder, target, precision)

    def reject(what: str) -> EngineRejected:
        return EngineRejected(f"engine {expected_name}: {what}; run: {command}")

    try:
        passport, seal = read_passport(_read(folder / PASSPORT_FILE, _MAXIMUM_PASSPORT_BYTES))
    except PassportInvalid as error:
        raise reject(f"{folder / PASSPORT_FILE} cannot be believed: {error}") from error
    except OSError as error:
        raise reject(f"{folder / PASSPORT_FILE} cannot be read: {error.strerror}") from error
    signed = _check_signer(seal, trusted_keys, allow_unsigned, reject)
    _expect("the card's name is", card.name, expected_name, reject)
    _expect("the passport is for", passport.name, expected_name, reject)
    _expect("the card's SHA-256 is", card_sha256, passport.card_sha256, reject)
    _check_tensors(card, passport, reject)
    _check_target(passport, target, reject)
    data = _read_recorded(folder, passport.engine, reject)
    golden_bytes = _read_recorded(folder, passport.golden.file, reject)
    try:
        golden = read_golden(golden_bytes)
    except ValueError as error:
        raise reject(str(error)) from error
    return VerifiedEngine(folder, card, card_sha256, passport, signed, data, golden)


def list_engines(
    engines: Path, trusted_keys: Sequence[str] = (), allow_unsigned: bool = True
) -> tuple[EngineStatus, ...]:
    """Every card under `engines` and every engine built of it, each verified; problems are told, not raised."""
    found: list[EngineStatus] = []
    for file in sorted(engines.glob(f"*/{CARD_FILE}")):
        name = file.parent.name
        try:
            card, _ = read_card(file)
        except ConfigurationError as error:
            found.append(EngineStatus(name, "", "", None, str(error)))
            continue
        built = sorted(p.parent for p in file.parent.glob(f"*/{PASSPORT_FILE}"))
        if not built:
            problem = f"not built; run: {rebuild_command(file.parent, 'onnxruntime', 'fp32')}"
            found.append(EngineStatus(name, card.version, card.task, None, problem))
        for folder in built:
            problem_of, signed = None, False
            try:
                signed = verify(folder, trusted_keys, allow_unsigned).signed
            except EngineError as error:
                problem_of = str(error)
            found.append(EngineStatus(name, card.version, card.task, folder, problem_of, signed))
    return tuple(found)


def _check_signer(
    seal: Seal, trusted_keys: Sequence[str], allow_unsigned: bool, reject: Callable[[str], EngineRejected]
) -> bool:
    if seal.signer is not None and seal.signer in {key.strip().lower() for key in trusted_keys}:
        return True
    if allow_unsigned:
        return False
    if seal.signer is None:
        raise reject("it is not signed, and engines.allow_unsigned is false; sign it with --key")
    raise reject(f"its signer is {seal.signer}, which is not in engines.trusted_keys; sign it with --key")


def _check_tensors(card: Card, passport: Passport, reject: Callable[[str], EngineRejected]) -> None:
    expected = (TensorRecord(card.input.name, card.input.shape, card.input.dtype),)
    found = tuple(TensorRecord(t.name, t.shape, t.dtype) for t in passport.inputs)
    _expect("the inputs are", found, expected, reject)
    outputs = {t.name: (t.shape, t.dtype) for t in passport.outputs}
    _expect(f"the output {card.output.name} is", outputs.get(card.output.name),
            (card.output.shape, card.output.dtype), reject)  # fmt: skip


def _check_target(passport: Passport, target: str, reject: Callable[[str], EngineRejected]) -> None:
    _expect("the flavour is", passport.target.flavour, target, reject)
    for what, wanted, here in (
        ("operating system", passport.target.operating_system, platform.system()),
        ("architecture", passport.target.architecture, platform.machine()),
    ):
        if wanted is not None and wanted != here:
            raise reject(f"it was built for the {what} {wanted}, this machine is {here}")


def _read_recorded(folder: Path, record: FileRecord, reject: Callable[[str], EngineRejected]) -> bytes:
    file = folder / record.file
    try:
        data = _read(file, record.size_bytes + 1)
    except OSError as error:
        raise reject(f"{file} cannot be read: {error.strerror}") from error
    if len(data) != record.size_bytes:
        found = file.stat().st_size
        raise reject(f"{file} has the wrong size: expected {record.size_bytes} bytes, found {found}")
    _expect(f"{file}: the SHA-256 is", hashlib.sha256(data).hexdigest(), record.sha256, reject)
    return data


def _read(file: Path, maximum: int) -> bytes:
    with file.open("rb") as stream:
        return stream.read(maximum)


def _expect(what: str, found: object, expected: object, reject: Callable[[str], EngineRejected]) -> None:
    if found != expected:
        raise reject(f"{what} not the expected one: expected {expected}, found {found}")
