"""The passport of a built engine, `passport.json`: what was built, for what, from what, and how well it did.

The file is canonical JSON (sorted keys, no spaces). Its `seal` holds the SHA-256 of the rest and, where a key was
given, an Ed25519 signature of the same bytes: any changed byte is found.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge_runtime.strict_json import NotOfSchema, build

PASSPORT_FILE = "passport.json"
SCHEMA_VERSION = 2

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
        if "/" in self.file or "\\" in self.file or self.file in ("", ".", "..") or not self.file.isprintable():
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
    """fp32, fp16 or int8; how INT8 was calibrated, and on what; the layers that the gate gave back to FP32."""

    recipe: str
    calibration_sha256: str | None = None
    calibration_method: str | None = None
    raised: tuple[str, ...] = ()


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
    """A task metric of this engine on the hold-out set, its 95 % interval, and FP32's figure on the same samples."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    fp32: float | None = None
    tolerance: float | None = None  # how much lower than FP32's the card allows


@dataclass(frozen=True)
class Gate:
    """The labelled hold-out set on which the task metrics passed the card's tolerances."""

    holdout_sha256: str
    samples: int
    network: str  # what was measured: the engine itself, or the network that it was built from


@dataclass(frozen=True)
class Builder:
    """The program that built the engine, and what it was told."""

    name: str
    version: str
    options: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()  # such as "onnx 1.23.2"


@dataclass(frozen=True)
class Passport:
    """See the module. `longest_run_seconds` is the longest uninterruptible run measured when it was built.

    It is None where the engine could not run on the machine that built it. `documents` are files beside the engine
    that the daemon does not read: its report, and the network that it was built from.
    """

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
    longest_run_seconds: float | None
    builder: Builder
    task_metrics: tuple[Metric, ...] = ()
    gate: Gate | None = None
    checkpoint_sha256: str | None = None
    documents: tuple[FileRecord, ...] = ()


@dataclass(frozen=True)
class Seal:
    """SHA-256 of the passport's canonical bytes; the signer's public key and its signature of them, in hex."""

    sha256: str
    signer: str | None = None
    signature: str | None = None


def write_passport(passport: Passport, key: Ed25519PrivateKey | None = None) -> bytes:
    """The bytes of `passport.json`, signed where a key is given."""
    return _sealed(dataclasses.asdict(passport), key)


def reseal(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """The same passport, of the same schema version, with the signature of another key.

    Raises:
        PassportInvalid: as `read_passport`.
    """
    read_passport(data)
    return _sealed(json.loads(data)["passport"], key)


def _sealed(passport: dict[str, Any], key: Ed25519PrivateKey | None) -> bytes:
    content = _canonical(passport)
    seal = Seal(hashlib.sha256(content).hexdigest())
    if key is not None:
        signer = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        seal = Seal(seal.sha256, signer, key.sign(content).hex())
    return _canonical({"passport": passport, "seal": dataclasses.asdict(seal)})


def read_passport(data: bytes) -> tuple[Passport, Seal]:
    """Read and check `passport.json`: canonical form, seal, and the signature where there is one.

    Whether the signer is one to trust is the caller's to ask.

    Raises:
        PassportInvalid: with what is wrong.
    """
    try:
        document = json.loads(data)
        canonical = _canonical(document)
    except (ValueError, RecursionError) as error:
        raise PassportInvalid(f"it is no JSON: {error}") from error
    if not isinstance(document, dict) or set(document) != {"passport", "seal"} or canonical != data:
        raise PassportInvalid("its bytes are not in the form that a passport is written in; it was altered")
    seal = _read(Seal, document["seal"], "seal")
    content = _canonical(document["passport"])
    if hashlib.sha256(content).hexdigest() != seal.sha256:
        raise PassportInvalid(f"its seal expects {seal.sha256}, found {hashlib.sha256(content).hexdigest()}")
    _check_signature(seal, content)
    found = document["passport"].get("schema_version") if isinstance(document["passport"], dict) else None
    if found not in (1, SCHEMA_VERSION):
        raise PassportInvalid(f"its schema version is {found}, this program reads 1 and {SCHEMA_VERSION}")
    passport = document["passport"] if found == SCHEMA_VERSION else _from_version_1(document["passport"])
    return _read(Passport, passport, "passport"), seal


def _read(kind: type[T], value: Any, key: str) -> T:
    try:
        return build(kind, value, key)
    except NotOfSchema as error:
        raise PassportInvalid(str(error)) from error


def _from_version_1(old: dict[str, Any]) -> dict[str, Any]:
    """Version 2 added keys, all with defaults, and took none away."""

    def fill(kind: type[Any], value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        new = {f.name: f.default for f in dataclasses.fields(kind) if f.default is not dataclasses.MISSING}
        return {**{k: [] if v == () else v for k, v in new.items()}, **value}

    metrics = old.get("task_metrics")
    filled = {
        "precision": fill(Precision, old.get("precision")),
        "builder": fill(Builder, old.get("builder")),
        "task_metrics": [fill(Metric, m) for m in metrics] if isinstance(metrics, list) else metrics,
    }
    whole: dict[str, Any] = {**fill(Passport, old), **filled}
    return whole


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
