"""The passport of a built engine, `passport.json`: what was built, for what, from what, and how well it did.

The file is canonical JSON (sorted keys, no spaces). Its `seal` holds the SHA-256 of the rest and, where a key was
given, an Ed25519 signature of the same bytes: any changed byte is found.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PASSPORT_FILE = "passport.json"
SCHEMA_VERSION = 1

T = TypeVar("T")


class PassportInvalid(ValueError):
    """The bytes are no passport of this schema, or not as they were sealed. The message says what is wrong."""


@dataclass(frozen=True)
class FileRecord:
    """A file beside the passport."""

    file: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        if "/" in self.file or "\\" in self.file or self.file in ("", ".", ".."):
            raise ValueError(f"a file beside the passport has a plain name, got {self.file!r}")


@dataclass(frozen=True)
class Target:
    """What the engine runs on. Absent values do not bind: an FP32 network for ONNX Runtime runs on any processor."""

    flavour: str  # onnxruntime, tensorrt, tensorrt_rtx
    flavour_version: str
    operating_system: str | None = None  # as platform.system() says
    architecture: str | None = None  # as platform.machine() says
    instruction_set: str | None = None  # where INT8 results depend on it
    compute_capabilities: tuple[str, ...] = ()
    device_name: str | None = None
    integrated: bool | None = None
    cuda_runtime: str | None = None
    minimum_driver: str | None = None
    jetpack: str | None = None
    compatibility: tuple[str, ...] = ()
    dla: bool = False
    plugins: tuple[FileRecord, ...] = ()


@dataclass(frozen=True)
class Onnx:
    """The network that the engine was built from."""

    sha256: str
    opset: int


@dataclass(frozen=True)
class Precision:
    """fp32, fp16 or int8, and the hash of the calibration set where there was one."""

    recipe: str
    calibration_sha256: str | None = None


@dataclass(frozen=True)
class TensorRecord:
    """An input or output; `profile` holds the minimum, best and maximum shapes where they vary."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    profile: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class GoldenRecord:
    """The golden input and output, and the largest absolute difference that passes."""

    file: FileRecord
    tolerance: float


@dataclass(frozen=True)
class Parity:
    """How far the engine's golden output is from that of the framework that the checkpoint came from."""

    reference: str  # such as "torch 2.9.0"
    maximum_absolute_error: float


@dataclass(frozen=True)
class Metric:
    """A task metric measured on data that the name tells, such as dice/ch2bet."""

    name: str
    value: float


@dataclass(frozen=True)
class Builder:
    """The program that built the engine, and what it was told."""

    name: str
    version: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Passport:
    """See the module. `longest_run_seconds` is the longest uninterruptible run measured when it was built."""

    schema_version: int
    name: str
    version: str
    card_sha256: str
    engine: FileRecord
    target: Target
    onnx: Onnx
    precision: Precision
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    golden: GoldenRecord
    parity: Parity
    longest_run_seconds: float
    builder: Builder
    task_metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True)
class Seal:
    """SHA-256 of the passport's canonical bytes; the signer's public key and its signature of them, in hex."""

    sha256: str
    signer: str | None = None
    signature: str | None = None


def write_passport(passport: Passport, key: Ed25519PrivateKey | None = None) -> bytes:
    """The bytes of `passport.json`, signed where a key is given."""
    content = _canonical(dataclasses.asdict(passport))
    seal = Seal(hashlib.sha256(content).hexdigest())
    if key is not None:
        signer = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        seal = Seal(seal.sha256, signer, key.sign(content).hex())
    return _canonical({"passport": dataclasses.asdict(passport), "seal": dataclasses.asdict(seal)})


def read_passport(data: bytes) -> tuple[Passport, Seal]:
    """Read and check `passport.json`: canonical form, seal, and the signature where there is one.

    Whether the signer is one to trust is the caller's to ask.

    Raises:
        PassportInvalid: with what is wrong.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PassportInvalid(f"it is no JSON: {error}") from error
    if not isinstance(document, dict) or set(document) != {"passport", "seal"} or _canonical(document) != data:
        raise PassportInvalid("its bytes are not in the form that a passport is written in; it was altered")
    seal = _build(Seal, document["seal"], "seal")
    content = _canonical(document["passport"])
    if hashlib.sha256(content).hexdigest() != seal.sha256:
        raise PassportInvalid(f"its seal expects {seal.sha256}, found {hashlib.sha256(content).hexdigest()}")
    _check_signature(seal, content)
    found = document["passport"].get("schema_version") if isinstance(document["passport"], dict) else None
    if found != SCHEMA_VERSION:
        raise PassportInvalid(f"its schema version is {found}, this program reads {SCHEMA_VERSION}")
    return _build(Passport, document["passport"], "passport"), seal


def _check_signature(seal: Seal, content: bytes) -> None:
    if (seal.signer is None) != (seal.signature is None):
        raise PassportInvalid("its seal has a signer or a signature, and not both")
    if seal.signer is None or seal.signature is None:
        return
    try:
        key, signature = bytes.fromhex(seal.signer), bytes.fromhex(seal.signature)
        if (key.hex(), signature.hex()) != (seal.signer, seal.signature):
            raise ValueError("not lower-case hexadecimal")
        Ed25519PublicKey.from_public_bytes(key).verify(signature, content)
    except (ValueError, InvalidSignature) as error:
        raise PassportInvalid("its signature is not that of its signer") from error


def _canonical(document: Any) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def _build(kind: type[T], value: Any, key: str) -> T:
    """`value`, as JSON gives it, as `kind`: a dataclass, a tuple, a scalar, or None where allowed."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        inner = next(k for k in typing.get_args(kind) if k is not type(None))
        return cast("T", None if value is None else _build(inner, value, key))
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise PassportInvalid(f"{key} must be a list")
        item = typing.get_args(kind)[0]
        return cast("T", tuple(_build(item, v, f"{key}[{i}]") for i, v in enumerate(value)))
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(cast("type[T]", kind), value, key)
    if kind is float and type(value) is int:
        return cast("T", float(value))
    if type(value) is not kind:
        raise PassportInvalid(f"{key} must be {kind.__name__}, got {type(value).__name__}")
    return value


def _build_dataclass(kind: type[T], value: Any, key: str) -> T:
    fields = {f.name: f for f in dataclasses.fields(cast("Any", kind))}
    if not isinstance(value, dict) or set(value) != set(fields):
        expected = ", ".join(sorted(fields))
        raise PassportInvalid(f"{key} must have exactly the keys {expected}")
    hints = typing.get_type_hints(kind)
    try:
        return kind(**{name: _build(hints[name], value[name], f"{key}.{name}") for name in fields})
    except PassportInvalid:
        raise
    except ValueError as error:
        raise PassportInvalid(f"{key}: {error}") from error
