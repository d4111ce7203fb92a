"""No engine that is not the one of its passport reaches a library."""

import dataclasses
import hashlib
import os
import platform
import shutil
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import build_engine, card, segmenter, write_card

from edge_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edge_runtime.cli import main
from edge_runtime.engines import verify as verify_module
from edge_runtime.engines.listing import engine_status, list_engines
from edge_runtime.engines.passport import FileRecord, Gate, Precision, Target, read_passport, write_passport
from edge_runtime.engines.verify import find_engine, verify, verify_documents
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
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(EngineRejected, match=rf"{name} cannot be read: it is no plain file"):
        verify(folder, [PUBLIC], allow_unsigned=False)


def test_what_a_passport_says_steers_neither_the_terminal_nor_the_command_that_is_named(folder):
    file = folder / "passport.json"
    passport, _ = read_passport(file.read_bytes())
    target = dataclasses.replace(passport.target, instruction_set="avx2; rm -rf ~")
    rewrite(folder, key=None, name="\x1b[2J\ud800\n", target=target)
    with pytest.raises(EngineRejected, match=r"found \?\[2J\?\?; run: .* --instruction-set 'avx2; rm -rf ~' "):
        verify(folder, (), allow_unsigned=True)


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


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["engine.onnx", "golden.npz", "passport.json"]), st.integers(0), st.integers(1, 255))
def test_a_changed_byte_anywhere_is_found_before_anything_is_deserialized(built, name, offset, change):
    folder = built / "tiny" / "onnxruntime-fp32"
    file = folder / name
    data = file.read_bytes()
    place = offset % len(data)
    changed = bytearray(data)
    changed[place] ^= change
    deserialized = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxRuntimeBackend, "load", lambda *_: deserialized.append("engine"))
        patch.setattr(verify_module, "read_golden", lambda _: deserialized.append("golden"))
        try:
            file.write_bytes(changed)
            with pytest.raises(EngineRejected, match="run: edge-convert build"):
                verify(folder, [PUBLIC], allow_unsigned=False)
        finally:
            file.write_bytes(data)
    assert deserialized == []


def test_a_passport_that_names_more_than_the_disk_holds_takes_no_memory(folder):
    passport, _ = read_passport((folder / "passport.json").read_bytes())
    rewrite(folder, engine=dataclasses.replace(passport.engine, size_bytes=10**15))
    with pytest.raises(EngineRejected, match="wrong size: expected 1000000000000000 bytes, found"):
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
        (Target("tensorrt", "10.3"), "flavour is not the expected one: expected onnxruntime, found tensorrt;"),
        (Target("onnxruntime", "1.20", operating_system="Plan9"), "operating system Plan9, this machine is"),
        (Target("onnxruntime", "1.20", architecture="vax"), "architecture vax, this machine is"),
    ],
)
def test_an_engine_for_another_target_is_refused(folder, target, message):
    rewrite(folder, target=target)
    with pytest.raises(EngineRejected, match=message):
        verify(folder, [PUBLIC], allow_unsigned=False)


def test_an_engine_for_another_machine_can_still_be_checked_where_it_was_built(folder):
    rewrite(folder, target=Target("onnxruntime", "1.20", operating_system="Plan9", instruction_set="sparc"))
    assert verify(folder, [PUBLIC], allow_unsigned=False, any_machine=True).signed


@pytest.mark.parametrize(
    ("recorded", "here", "runs"),
    [
        ("avx512_vnni", "avx2", False),
        ("avx_vnni", "sse", False),
        ("avx2", "unknown", False),
        ("avx2", "avx512_vnni", True),
        ("avx512_vnni", "avx_vnni", True),
    ],
)
def test_an_int8_engine_is_refused_where_it_would_answer_something_else(folder, monkeypatch, recorded, here, runs):
    monkeypatch.setattr(verify_module, "instruction_set", lambda: here)
    rewrite(folder, target=Target("onnxruntime", "1.20", "Linux", platform.machine(), recorded))
    if runs:
        assert verify(folder, [PUBLIC], allow_unsigned=False).signed
        return
    what = f"only on processors with {recorded} or newer, this one has {here}"
    more = "" if here == "unknown" else f" --instruction-set {here}"
    with pytest.raises(EngineRejected, match=f"{what}; run: .* --precision fp32{more} --output"):
        verify(folder, [PUBLIC], allow_unsigned=False)


def test_an_int8_engine_is_rebuilt_for_the_processor_that_it_was_for(folder, monkeypatch):
    monkeypatch.setattr(verify_module, "instruction_set", lambda: "avx512_vnni")
    rewrite(folder, target=Target("onnxruntime", "1.20", instruction_set="avx2"))
    (folder / "engine.onnx").write_bytes(b"")
    with pytest.raises(EngineRejected, match="--precision fp32 --instruction-set avx2 --output"):
        verify(folder, [PUBLIC], allow_unsigned=False)


def in_precision(folder, precision, gate=None, **changes):
    """The engine as one in another precision, in the folder of that name."""
    rewrite(folder, precision=Precision(precision), gate=gate, **changes)
    return folder.rename(folder.with_name(f"{folder.name.rpartition('-')[0]}-{precision}"))


GATE = Gate("0" * 64, 20, "the engine itself")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precision_that_nobody_measured_is_refused_unless_allowed(folder, precision):
    folder = in_precision(folder, precision)
    command = f"--target onnxruntime --precision {precision} --output {folder}"
    with pytest.raises(EngineRejected, match=f"not measured against FP32's, .*allow_ungated is false; .*{command}"):
        verify(folder, [PUBLIC], allow_unsigned=False)
    assert verify(folder, [PUBLIC], allow_unsigned=False, allow_ungated=True).passport.gate is None
    assert engine_status(folder).problem is not None
    assert engine_status(folder, allow_ungated=True).ungated


def test_lower_precision_that_passed_its_gate_is_taken(folder):
    folder = in_precision(folder, "int8", GATE)
    assert verify(folder, [PUBLIC], allow_unsigned=False).identity.precision == "int8"
    assert not engine_status(folder).ungated


def test_a_folder_that_says_another_precision_than_its_passport_is_refused(folder):
    other = folder.rename(folder.with_name("onnxruntime-int8"))
    with pytest.raises(EngineRejected, match="precision is not the expected one: expected int8, found fp32"):
        verify(other, [PUBLIC], allow_unsigned=False)


def test_a_plan_for_cards_is_rebuilt_for_the_same_cards(folder):
    rewrite(folder, target=Target("tensorrt_rtx", "1.7.1", compute_capabilities=("8.6", "12.0")))
    folder = folder.rename(folder.with_name("tensorrt-rtx-fp32"))
    assert verify(folder, [PUBLIC], allow_unsigned=False).signed
    (folder / "engine.onnx").write_bytes(b"")
    command = f"run: edge-convert build {folder.parent} --target tensorrt-rtx --precision fp32 --sm 8.6,12.0 --output"
    with pytest.raises(EngineRejected, match=f"{command} {folder}$"):
        verify(folder, [PUBLIC], allow_unsigned=False)


def test_the_documents_are_left_alone_by_the_daemon_and_found_by_who_asks(folder):
    (folder / "report.md").write_text("fine")
    record = FileRecord("report.md", hashlib.sha256(b"fine").hexdigest(), 4)
    rewrite(folder, documents=(record,))
    verify_documents(folder)
    (folder / "report.md").write_text("fime")
    assert verify(folder, [PUBLIC], allow_unsigned=False).signed
    with pytest.raises(EngineRejected, match=r"report.md: the SHA-256 is not the expected .*; run: edge-convert build"):
        verify_documents(folder)
    (folder / "report.md").unlink()
    with pytest.raises(EngineRejected, match=r"report.md cannot be read"):
        verify_documents(folder)


def test_verifying_needs_no_inference_library(folder):
    program = (
        "import sys; from edge_runtime.cli import main; code = main(['engines', 'verify', *sys.argv[1:]]); "
        "print(sorted({'onnxruntime', 'torch', 'onnx', 'scipy'} & set(sys.modules))); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, str(folder), "--trusted-key", PUBLIC]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "onnxruntime-fp32  signed  ok" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_with_trusted_keys_named_the_command_takes_no_other_signature(folder, capsys):
    assert main(["engines", "verify", str(folder), "--trusted-key", PUBLIC]) == 0
    rewrite(folder, OTHER)
    assert main(["engines", "verify", str(folder)]) == 0
    assert main(["engines", "verify", str(folder), "--trusted-key", PUBLIC]) == 69
    assert "not in engines.trusted_keys" in capsys.readouterr().out


def test_the_list_shows_what_was_not_measured_and_verify_refuses_it_unless_told(folder, capsys):
    folder = in_precision(folder, "int8")
    for action, code in ((["list"], 0), (["verify"], 69), (["verify", "--allow-ungated"], 0)):
        assert main(["engines", action[0], str(folder.parent), *action[1:]]) == code
    listed, refused, allowed = capsys.readouterr().out.split("1 engines in")[:3]
    assert (
        "onnxruntime-int8  signed by 3b6a27bc, not checked ungated  ok" in listed
        and "not checked ungated  ok" in allowed
    )
    assert "not usable" in refused and "--precision int8" in refused


def test_an_engine_whose_tensors_are_not_the_cards_is_refused(folder):
    rewrite(folder, inputs=())
    with pytest.raises(EngineRejected, match="inputs are not the expected"):
        verify(folder, [PUBLIC], allow_unsigned=False)


def test_what_is_not_built_is_named_with_its_command(tmp_path):
    write_card(tmp_path, card("segmentation", SHAPE), segmenter(SHAPE))
    with pytest.raises(EngineRejected, match=r"none built for onnxruntime; run: edge-convert build .*onnxruntime-fp32"):
        find_engine(tmp_path, "tiny", "onnxruntime")


def test_a_stage_may_ask_for_a_precision_and_gets_the_highest_where_it_does_not(folder):
    engines = folder.parents[1]
    with pytest.raises(EngineRejected, match=r"none built for onnxruntime in int8; run: .*--precision int8"):
        find_engine(engines, "tiny", "onnxruntime", "int8")
    shutil.copytree(folder, folder.with_name("onnxruntime-int8"))
    assert find_engine(engines, "tiny", "onnxruntime").name == "onnxruntime-fp32"
    assert find_engine(engines, "tiny", "onnxruntime", "int8").name == "onnxruntime-int8"


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
    assert [status.name for status in list_engines(engines, only="bare")] == ["bare"]
