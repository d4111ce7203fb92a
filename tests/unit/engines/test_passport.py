"""A passport is read only as it was sealed."""

import dataclasses
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.engines import passport as passports
from edge_runtime.engines.passport import (
    Builder,
    FileRecord,
    GoldenRecord,
    Metric,
    Onnx,
    Parity,
    Passport,
    PassportInvalid,
    Precision,
    Target,
    TensorRecord,
    read_passport,
    write_passport,
)

FILE = FileRecord("engine.onnx", "a" * 64, 10)
PASSPORT = Passport(
    schema_version=2,
    name="tiny",
    version="1",
    card_sha256="b" * 64,
    engine=FILE,
    target=Target("onnxruntime", "1.20.0", plugins=(FileRecord("p.so", "c" * 64, 3),)),
    onnx=Onnx("d" * 64, 17),
    precision=Precision("fp32"),
    inputs=(TensorRecord("x", (1, 4), "float32", profile=((1, 4), (2, 4))),),
    outputs=(),
    golden=GoldenRecord(FileRecord("golden.npz", "e" * 64, 5), 1e-3),
    parity=Parity("torch", 0.0),
    longest_run_seconds=1.0,
    builder=Builder("edge-convert", "1"),
)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNED = write_passport(PASSPORT, KEY)
UNSIGNED = write_passport(PASSPORT)


def test_what_was_written_is_read_again():
    assert read_passport(UNSIGNED)[0] == PASSPORT
    assert read_passport(UNSIGNED)[1].signature is None
    found, seal = read_passport(SIGNED)
    assert found == PASSPORT
    assert seal.signer == KEY.public_key().public_bytes_raw().hex()


@settings(max_examples=400)
@given(st.sampled_from([SIGNED, UNSIGNED]), st.integers(min_value=0), st.integers(0, 7))
def test_any_flipped_bit_is_found(data, position, bit):
    position %= len(data)
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    with pytest.raises(PassportInvalid):
        read_passport(bytes(changed))


def test_a_changed_passport_with_a_new_hash_has_no_valid_signature():
    other = json.loads(write_passport(dataclasses.replace(PASSPORT, version="2")))
    forged = {"passport": other["passport"], "seal": {**json.loads(SIGNED)["seal"], "sha256": other["seal"]["sha256"]}}
    with pytest.raises(PassportInvalid, match="signature"):
        read_passport(passports._canonical(forged))


def reseal(change):
    """The passport's document with a change, sealed again: what a builder with another schema would write."""
    document = json.loads(UNSIGNED)["passport"]
    change(document)
    content = passports._canonical(document)
    seal = {"sha256": passports.hashlib.sha256(content).hexdigest(), "signer": None, "signature": None}
    return passports._canonical({"passport": document, "seal": seal})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema_version=3), "schema version is 3"),
        (lambda d: d.pop("onnx"), "exactly the keys"),
        (lambda d: d.update(extra=1), "exactly the keys"),
        (lambda d: d["engine"].update(size_bytes="10"), "passport.engine.size_bytes must be int, got str"),
        (lambda d: d["engine"].update(file="../../etc/passwd"), "plain name"),
        (lambda d: d["engine"].update(file="engine\0.onnx"), "plain name"),
        (lambda d: d["engine"].update(file="\ud800"), "plain name"),
        (lambda d: d["golden"].update(tolerance=10**400), "passport.golden.tolerance must be float, got int"),
        (lambda d: d["inputs"][0].update(shape=4), r"passport.inputs\[0\].shape must be a list"),
    ],
)
def test_a_passport_of_another_schema_is_named(change, message):
    with pytest.raises(PassportInvalid, match=message):
        read_passport(reseal(change))


NOT_PASSPORTS = [b"", b"{}", b"[]", b"\xff", b"[" * 100_000] + [
    b'{"passport":{%s},"seal":{}}\n' % inner for inner in (b"", b'"x":NaN', b'"x":1e999')
]


@pytest.mark.parametrize("data", NOT_PASSPORTS)
def test_what_is_no_passport_is_refused(data):
    with pytest.raises(PassportInvalid):
        read_passport(data)


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda data: json.dumps(json.loads(data), indent=1).encode(),
        lambda data: data.replace(b'"name":"tiny"', b'"name":"else","name":"tiny"'),
        lambda data: data + b"\n",
    ],
    ids=["spaces", "a key twice", "a line more"],
)
def test_the_same_content_in_other_bytes_is_refused(rewrite):
    assert rewrite(SIGNED) != SIGNED
    with pytest.raises(PassportInvalid, match="not in the form"):
        read_passport(rewrite(SIGNED))


def version_1():
    """The passport as the first version of the program wrote it: without what version 2 added."""
    document = json.loads(UNSIGNED)["passport"]
    document["schema_version"] = 1
    for key in ("gate", "checkpoint_sha256", "documents"):
        del document[key]
    for key in ("calibration_method", "raised"):
        del document["precision"][key]
    del document["builder"]["packages"]
    document["task_metrics"] = [{"name": "dice/ch2bet", "value": 0.97}]
    return document


def test_a_passport_of_the_first_version_is_still_read():
    found, _ = read_passport(reseal(lambda d: (d.clear(), d.update(version_1()))))
    expected = dataclasses.replace(PASSPORT, schema_version=1, task_metrics=(Metric("dice/ch2bet", 0.97),))
    assert found == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("onnx"), "exactly the keys"),
        (lambda d: d.update(extra=1), "exactly the keys"),
        (lambda d: d.update(precision=[]), "precision must have exactly"),
        (lambda d: d.update(task_metrics=3), "task_metrics must be a list"),
        (lambda d: d["builder"].pop("name"), "builder must have exactly"),
    ],
)
def test_a_wrong_passport_of_the_first_version_is_refused(change, message):
    def replace(document):
        document.clear()
        document.update(version_1())
        change(document)

    with pytest.raises(PassportInvalid, match=message):
        read_passport(reseal(replace))
