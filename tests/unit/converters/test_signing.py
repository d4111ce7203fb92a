"""An engine is signed after it was built, and nothing else of it changes."""

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.models import build_engine, card, segmenter

from converters.report import read_report
from converters.signing import sign
from edge_runtime.engines.passport import PassportInvalid, read_passport, reseal, write_passport
from edge_runtime.engines.verify import verify
from edge_runtime.errors import EngineRejected

SHAPE = (1, 1, 4, 4, 4)
KEY, OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(b"1" * 32)


def public(key):
    return key.public_key().public_bytes_raw().hex()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_engine(tmp_path_factory.mktemp("engines"), card("segmentation", SHAPE), segmenter(SHAPE))


@pytest.fixture
def folder(built, tmp_path):
    shutil.copytree(built.parent, tmp_path / "tiny")
    return tmp_path / "tiny" / built.name


def test_an_unsigned_engine_is_signed_and_says_what_it_said(folder):
    before = json.loads((folder / "passport.json").read_bytes())["passport"]
    sign(folder, KEY)
    assert verify(folder, [public(KEY)], allow_unsigned=False).signed
    assert json.loads((folder / "passport.json").read_bytes())["passport"] == before


@pytest.mark.parametrize("inside", [False, True])
def test_an_engine_is_signed_by_a_relative_path(folder, monkeypatch, inside):
    monkeypatch.chdir(folder if inside else folder.parent)
    sign(Path() if inside else Path(folder.name), KEY)
    assert verify(folder, [public(KEY)], allow_unsigned=False).signed


def test_a_report_beside_its_passport_is_printed_as_it_was_written_or_not_at_all(folder):
    before = read_report(folder)
    (folder / "report.json").write_text((folder / "report.json").read_text().replace('"tiny"', '"best"', 1))
    with pytest.raises(EngineRejected, match=r"report\.json.*SHA-256|wrong size"):
        read_report(folder)
    (folder / "passport.json").unlink()
    assert read_report(folder) != before


def test_another_key_takes_the_place_of_the_first(folder):
    sign(folder, KEY)
    sign(folder, OTHER)
    assert verify(folder, [public(OTHER)], allow_unsigned=False).signed
    with pytest.raises(EngineRejected, match=r"not in engines.trusted_keys"):
        verify(folder, [public(KEY)], allow_unsigned=False)


@pytest.mark.parametrize("name", ["engine.onnx", "golden.npz", "passport.json"])
def test_what_was_altered_is_never_signed(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    passport = (folder / "passport.json").read_bytes()
    with pytest.raises(EngineRejected):
        sign(folder, KEY)
    assert (folder / "passport.json").read_bytes() == passport


def test_a_disk_that_fails_leaves_the_passport_as_it_was(folder, monkeypatch):
    before, names = (folder / "passport.json").read_bytes(), sorted(folder.iterdir())

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        sign(folder, KEY)
    assert (folder / "passport.json").read_bytes() == before and sorted(folder.iterdir()) == names


def test_a_passport_of_the_first_schema_stays_one(folder):
    passport, _ = read_passport((folder / "passport.json").read_bytes())
    document = json.loads(write_passport(passport))
    old = document["passport"]
    old["schema_version"] = 1
    for name in ("gate", "checkpoint_sha256", "documents"):
        del old[name]
    resealed = reseal(_sealed(old), KEY)
    assert json.loads(resealed)["passport"] == old
    assert read_passport(resealed)[1].signer == public(KEY)


def _sealed(passport):
    """As an older version would have written it."""
    import hashlib

    def canonical(document):
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    seal = {"sha256": hashlib.sha256(canonical(passport)).hexdigest(), "signer": None, "signature": None}
    return canonical({"passport": passport, "seal": seal})


def test_what_is_no_passport_is_not_sealed():
    with pytest.raises(PassportInvalid):
        reseal(b"{}", KEY)
