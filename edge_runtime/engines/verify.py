"""Find built engines, and let none reach its library that is not the one its passport describes."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import platform
import shlex
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edge_runtime.domain import EngineIdentity
from edge_runtime.engines.card import CARD_FILE, Card, read_card
from edge_runtime.engines.golden import Golden, read_golden
from edge_runtime.engines.instruction_set import UNKNOWN, instruction_set, runs_on
from edge_runtime.engines.passport import (
    PASSPORT_FILE,
    FileRecord,
    Passport,
    PassportInvalid,
    Seal,
    Target,
    TensorRecord,
    read_passport,
)
from edge_runtime.errors import ConfigurationError, EngineRejected

PRECISIONS = ("fp32", "fp16", "int8")
_MAXIMUM_PASSPORT_BYTES = 1_000_000


@dataclass(frozen=True, eq=False)
class VerifiedEngine:
    """An engine whose hash, signature, card and target fit. `data` is the file, read once."""

    folder: Path
    card: Card
    card_sha256: str
    passport: Passport
    signed: bool  # by one of the trusted keys
    signer: str | None
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


@dataclass
class _Built:
    """A built engine's folder while it is checked: how it is called and, once its passport was read, its target."""

    folder: Path
    name: str
    target: Target | None = None

    @property
    def target_and_precision(self) -> tuple[str, str]:
        target, _, precision = self.folder.name.rpartition("-")
        return target, precision

    def reject(self, what: str) -> EngineRejected:
        """What is wrong, and the command that builds it again."""
        command = rebuild_command(self.folder.parent, *self.target_and_precision, self.target)
        return EngineRejected(
            "".join(c if c.isprintable() else "?" for c in f"engine {self.name}: {what}; run: {command}")
        )


def rebuild_command(card_folder: Path, target: str, precision: str, recorded: Target | None = None) -> str:
    """The command that builds an engine again; `recorded` tells for which cards or processor."""
    command = ["edge-convert", "build", str(card_folder), "--target", target, "--precision", precision]
    if recorded is not None and target == "tensorrt-rtx" and recorded.compute_capabilities:
        command += ["--sm", ",".join(recorded.compute_capabilities)]
    if recorded is not None and recorded.instruction_set is not None:
        command += ["--instruction-set", recorded.instruction_set]
    return shlex.join([*command, "--output", str(card_folder / f"{target}-{precision}")])


def find_engine(engines: Path, name: str, target: str, precision: str | None = None) -> Path:
    """The folder of the engine built for `target` in a precision; absent, in the first of fp32, fp16, int8 there is.

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
    wanted = PRECISIONS if precision is None else (precision,)
    for one in wanted:
        folder = card_folder / f"{target}-{one}"
        if (folder / PASSPORT_FILE).is_file():
            return folder
    what = target if precision is None else f"{target} in {precision}"
    raise EngineRejected(
        f"engine {name}: there is none built for {what}; run: {rebuild_command(card_folder, target, wanted[0])}"
    )


def verify(
    folder: Path,
    trusted_keys: Sequence[str],
    allow_unsigned: bool,
    name: str | None = None,
    *,
    allow_ungated: bool = False,
    any_machine: bool = False,
) -> VerifiedEngine:
    """Read a built engine once into memory and check it: seal, signature, card, target, gate, sizes and hashes.

    No byte of the engine reaches a library here. `trusted_keys` are Ed25519 public keys, 64 hexadecimal digits each.
    `name` is what the caller asked for; absent, the name of the card's folder. `any_machine`: it need not run here.

    Raises:
        EngineRejected: names the engine, what was expected, what was found, and the command that rebuilds.
        ConfigurationError: the card is missing or wrong.
    """
    built = _Built(folder, name or folder.parent.name)
    reject = built.reject
    card, card_sha256 = read_card(folder.parent)
    passport, seal = _read_passport(folder, reject)
    built.target = passport.target
    signed = _check_signer(seal, trusted_keys, allow_unsigned, built)
    _expect("the card's name is", card.name, built.name, reject)
    _expect("the passport is for", passport.name, built.name, reject)
    _expect("the card's SHA-256 is", card_sha256, passport.card_sha256, reject)
    _check_tensors(card, passport, reject)
    target, precision = built.target_and_precision
    _expect("the flavour is", passport.target.flavour, target.replace("-", "_"), reject)
    _expect("the precision is", passport.precision.recipe, precision, reject)
    if not any_machine:
        _check_machine(passport.target, built)
    if is_ungated(passport) and not allow_ungated:
        raise reject("its task metrics were not measured against FP32's, and engines.allow_ungated is false")
    data = _read_recorded(folder, passport.engine, reject)
    golden_bytes = _read_recorded(folder, passport.golden.file, reject)
    try:
        golden = read_golden(golden_bytes)
    except ValueError as error:
        raise reject(str(error)) from error
    return VerifiedEngine(folder, card, card_sha256, passport, signed, seal.signer, data, golden)


def is_ungated(passport: Passport) -> bool:
    """Whether an engine in lower precision was built without measuring it against FP32."""
    return passport.precision.recipe != "fp32" and passport.gate is None


def verify_documents(folder: Path) -> None:
    """Check the files that an engine's passport names and the daemon does not read: its report and its network.

    Raises:
        EngineRejected: names the file, what was expected, what was found, and the command that rebuilds.
    """
    built = _Built(folder, folder.parent.name)
    passport, _ = _read_passport(folder, built.reject)
    built.target = passport.target
    for record in passport.documents:
        _read_recorded(folder, record, built.reject)


def read_document(folder: Path, name: str) -> bytes:
    """One of these files, as the passport has it.

    Raises:
        EngineRejected: the passport names no such file, or the file is another.
    """
    built = _Built(folder, folder.parent.name)
    passport, _ = _read_passport(folder, built.reject)
    built.target = passport.target
    record = next((r for r in passport.documents if r.file == name), None)
    if record is None:
        raise built.reject(f"its passport names no {name}")
    return _read_recorded(folder, record, built.reject)


def _check_signer(seal: Seal, trusted_keys: Sequence[str], allow_unsigned: bool, built: _Built) -> bool:
    if seal.signer is not None and seal.signer in {key.strip().lower() for key in trusted_keys}:
        return True
    if allow_unsigned:
        return False
    sign = f"edge-convert sign {shlex.quote(str(built.folder))} --key FILE"
    if seal.signer is None:
        raise EngineRejected(f"engine {built.name}: it is not signed, and engines.allow_unsigned is false; run: {sign}")
    raise EngineRejected(
        f"engine {built.name}: its signer is {seal.signer}, which is not in engines.trusted_keys; add that key if it "
        f"is one of yours, or run: {sign}"
    )


def _check_tensors(card: Card, passport: Passport, reject: Callable[[str], EngineRejected]) -> None:
    expected = (TensorRecord(card.input.name, card.input.shape, card.input.dtype),)
    found = tuple(TensorRecord(t.name, t.shape, t.dtype) for t in passport.inputs)
    _expect("the inputs are", found, expected, reject)
    outputs = {t.name: (t.shape, t.dtype) for t in passport.outputs}
    _expect(f"the output {card.output.name} is", outputs.get(card.output.name),
            (card.output.shape, card.output.dtype), reject)  # fmt: skip


def _check_machine(target: Target, built: _Built) -> None:
    for what, wanted, here in (
        ("operating system", target.operating_system, platform.system()),
        ("architecture", target.architecture, platform.machine()),
    ):
        if wanted is not None and wanted != here:
            raise built.reject(f"it was built for the {what} {wanted}, this machine is {here}")
    if target.instruction_set is not None:
        here = instruction_set()
        if not runs_on(target.instruction_set, here):
            built.target = dataclasses.replace(target, instruction_set=None if here == UNKNOWN else here)
            raise built.reject(
                f"its INT8 network is exact only on processors with {target.instruction_set} or newer, "
                f"this one has {here}"
            )


def _read_passport(folder: Path, reject: Callable[[str], EngineRejected]) -> tuple[Passport, Seal]:
    file = folder / PASSPORT_FILE
    try:
        with _opened(file) as stream:
            return read_passport(stream.read(_MAXIMUM_PASSPORT_BYTES))
    except PassportInvalid as error:
        raise reject(f"{file} cannot be believed: {error}") from error
    except OSError as error:
        raise reject(f"{file} cannot be read: {error.strerror}") from error


def _opened(file: Path) -> BinaryIO:
    """The file, opened without waiting for whoever is to write into a pipe."""
    stream = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is no plain file", str(file))
    return stream


def _read_recorded(folder: Path, record: FileRecord, reject: Callable[[str], EngineRejected]) -> bytes:
    file = folder / record.file
    try:
        with _opened(file) as stream:
            found = os.fstat(stream.fileno()).st_size
            data = stream.read(record.size_bytes) if found == record.size_bytes else b""
    except OSError as error:
        raise reject(f"{file} cannot be read: {error.strerror}") from error
    if len(data) != record.size_bytes:
        raise reject(f"{file} has the wrong size: expected {record.size_bytes} bytes, found {found}")
    _expect(f"{file}: the SHA-256 is", hashlib.sha256(data).hexdigest(), record.sha256, reject)
    return data


def _expect(what: str, found: object, expected: object, reject: Callable[[str], EngineRejected]) -> None:
    if found != expected:
        raise reject(f"{what} not the expected one: expected {expected}, found {found}")
