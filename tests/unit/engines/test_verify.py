"""No engine that is not the one of its passport reaches a library."""

import dataclasses
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.models import build_engine, card, segmenter, write_card

from edge_runtime.engines.passport import Target, read_passport, write_passport
from edge_runtime.engines.verify import find_engine, list_engines, verify
from edge_runtime.errors import ConfigurationError, EngineRejected

SHAPE = (1, 1, 4, 4, 4)
KEY, OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(b"1" * 32)
PUBLIC = KEY.public_key().public_bytes_raw().hex()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An engines folder with one engine, signed by KEY."""
    engines = tmp_path_factory.mktemp("engines")
    build_engine(engines, card("segmentation", SHAPE), segmenter(SHAPE), KEY)
    return engines


@pytest.fixture
def folder(built, tmp_path):
    """A copy of the built engine that a test may spoil."""
    shutil.copytree(built, tmp_path / "engines")
    return tmp_path / "engines" / "tiny" / "onnxruntime-fp32"


def rewrite(folder, key=KEY, **changes):
    file = folder / "passport.json"
    passport, _ = read_passport(file.read_bytes())
    file.write_bytes(write_passport(dataclasses.replace(passport, **changes), key))


def test_an_engine_as_it_was_built_passes(folder):
    engine = verify(folder, [PUBLIC], allow_unsigned=False)
    assert engine.signed
    assert engine.data == (folder / "engine.onnx").read_bytes()
    assert engine.identity.sha256 == engine.passport.engine.sha256
    assert engine.identity.statement == "Tests only."


@pytest.mark.parametrize("name", ["engine.onnx", "golden.npz", "passport.json"])
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_one_flipped_bit_in_any_file_is_found_and_the_command_that_rebuilds_is_named(folder, name, where):
    file = folder / name
    data = bytearray(file.read_bytes())
    data[int(where * len(data))] ^= 1
    file.write_bytes(data)
    with pytest.raises(EngineRejected, match=r"engine tiny: .*; run: edge-convert build .*/tiny --target onnxruntime"):
        verify(folder, [PUBLIC], allow_unsigned=False)


@pytest.mark.parametrize("change", [lambda d: d + b"x", lambda d: d[:-1], lambda d: b""])
def test_a_file_of_another_size_is_found(folder, change):
    file = folder / "engine.onnx"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(EngineRejected, match="wrong size: expected"):
        verify(folder, [PUBLIC], allow_unsigned=False)


@pytest.mark.parametrize("name", ["engine.onnx", "golden.npz", "passport.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(EngineRejected, match=f"{name} cannot be read"):
        verify(folder, [PUBLIC], allow_unsigned=False)


def test_a_changed_card_is_found(folder):
    file = folder.parent / "model.yaml"
    file.write_text(file.read_text().replace("threshold: 0.5", "threshold: 0.4"))
    with pytest.raises(EngineRejected, match="card's SHA-256 is not the expected"):
        verify(folder, [PUBLIC], allow_unsigned=False)


def test_an_engine_of_another_name_is_found(folder):
    with pytest.raises(EngineRejected, match="name is not the expected one: expected other, found tiny"):
        verify(folder, [PUBLIC], allow_unsigned=False, name="other")


@pytest.mark.parametrize(
    ("key", "trusted", "message"),
    [
        (None, [PUBLIC], "it is not signed"),
        (OTHER, [PUBLIC], "not in engines.trusted_keys"),
        (KEY, [], "not in engines.trusted_keys"),
    ],
)
def test_only_a_trusted_signature_passes_unless_unsigned_ones_are_allowed(folder, key, trusted, message):
    rewrite(folder, key)
    with pytest.raises(EngineRejected, match=message):
        verify(folder, trusted, allow_unsigned=False)
    assert not verify(folder, trusted, allow_unsigned=True).signed


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target("tensorrt", "10.3"), "flavour is not the expected one: expected onnxruntime, found tensorrt"),
        (Target("onnxruntime", "1.20", operating_system="Plan9"), "operating system Plan9, this machine is"),
        (Target("onnxruntime", "1.20", architecture="vax"), "architecture vax, this machine is"),
    ],
)
def test_an_engine_for_another_target_is_refused(folder, target, message):
    rewrite(folder, target=target)
    with pytest.raises(EngineRejected, match=message):
        verify(folder, [PUBLIC], allow_unsigned=False)


def test_an_engine_whose_tensors_are_not_the_cards_is_refused(folder):
    rewrite(folder, inputs=())
    with pytest.raises(EngineRejected, match="inputs are not the expected"):
        verify(folder, [PUBLIC], allow_unsigned=False)


def test_what_is_not_built_is_named_with_its_command(tmp_path):
    write_card(tmp_path, card("segmentation", SHAPE), segmenter(SHAPE))
    with pytest.raises(EngineRejected, match=r"none built for onnxruntime; run: edge-convert build .*onnxruntime-fp32"):
        find_engine(tmp_path, "tiny", "onnxruntime")


def test_an_engine_without_a_card_is_named_with_those_that_exist(built):
    with pytest.raises(ConfigurationError, match=r"engine tyni: .* has: tiny"):
        find_engine(built, "tyni", "onnxruntime")


def test_the_list_tells_good_bad_and_missing_engines(folder):
    engines = folder.parents[1]
    write_card(engines, card("segmentation", SHAPE, name="bare"), segmenter(SHAPE))
    (engines / "wrong").mkdir()
    (engines / "wrong" / "model.yaml").write_text("name: wrong\n")
    before = {status.name: status for status in list_engines(engines)}
    assert before["tiny"].problem is None and before["tiny"].folder == folder
    assert "not built; run: edge-convert build" in before["bare"].problem
    assert "is required" in before["wrong"].problem
    (folder / "engine.onnx").write_bytes(b"")
    assert "wrong size" in {status.name: status for status in list_engines(engines)}["tiny"].problem
