"""One place knows what a TensorRT can; the names that we use are those of the real libraries."""

import ast
import sys
from pathlib import Path

import pytest
from support.fake_tensorrt import fake
from support.tensorrt_versions import V10_3, V10_13, V11_4

from edge_runtime.backends.tensorrt_api import (
    BUILDER_NAMES,
    PROBED,
    RUNTIME_NAMES,
    describe,
    has,
    load_api,
    missing_names,
)
from edge_runtime.errors import BackendUnavailable

ROOT = Path(__file__).parents[3]
FILES = [
    *sorted((ROOT / "converters" / "targets").glob("*.py")),
    *sorted((ROOT / "edge_runtime" / "backends").glob("tensorrt*.py")),
]

OBJECTS = {
    "trt": "", "builder": "Builder", "network": "INetworkDefinition", "config": "IBuilderConfig",
    "parser": "OnnxParser", "problem": "ParserError", "tensor": "ITensor", "cache": "ITimingCache",
    "runtime": "Runtime", "engine": "ICudaEngine", "context": "IExecutionContext",
    "runtime_config": "IRuntimeConfig", "runtime_cache": "IRuntimeCache",
}  # fmt: skip
"""How the library's objects are called wherever we use them, and of which class they are."""


def test_the_runtime_has_every_name_that_we_use():
    lean = pytest.importorskip("tensorrt_lean")
    assert missing_names(lean, RUNTIME_NAMES) == ()


def test_rtx_has_every_name_that_we_use_of_runtime_and_builder():
    rtx = pytest.importorskip("tensorrt_rtx")
    assert missing_names(rtx, RUNTIME_NAMES) == ()
    assert missing_names(rtx, BUILDER_NAMES) == ()


def test_every_probed_name_exists_in_one_of_the_real_libraries():
    real = [pytest.importorskip("tensorrt_rtx"), pytest.importorskip("tensorrt_lean")]
    unknown = [path for paths in PROBED.values() for path in paths if not any(has(module, path) for module in real)]
    assert unknown == []


def used_names(source):
    """(class, name) of every attribute that is asked of one of the library's objects, or of one of its classes."""
    chains = [tuple(ast.unparse(n).rsplit(".", 2)) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute)]
    used = set()
    for *before, owner, name in chains:
        if before and before[0].split(".")[-1] in ("trt", "module"):
            used.add((owner, name))
        elif owner in ("trt", "module"):
            used.add(("", name))
        elif not before and owner in OBJECTS:
            used.add((OBJECTS[owner], name))
    return used


def listed():
    required = {(owner, name) for listed in (BUILDER_NAMES, RUNTIME_NAMES) for owner, names in listed.items()
                for name in names}  # fmt: skip
    probed = {tuple(path.rpartition(".")[::2]) for paths in PROBED.values() for path in paths}
    return required, probed


def test_every_name_that_the_code_asks_for_is_listed_and_every_listed_one_is_asked_for():
    used = set().union(*(used_names(file.read_text()) for file in FILES))
    required, probed = listed()
    their_classes = {("", owner) for owner, _ in probed}
    not_names = {("ComputeCapability", "__members__")}
    assert used - required - probed - their_classes - not_names == set()
    assert required - used == set(), "listed, and used nowhere"


def test_no_object_of_the_library_hides_behind_another_name():
    """Outside the objects above, no attribute that only the library has is asked of anything."""
    required, probed = listed()
    common = {"name", "shape", "parse", "set_flag", "ERROR", "INFO", "WARNING"}
    special = {name for owner, name in required | probed if owner and name not in common}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in special and isinstance(node.value, ast.Name):
                assert node.value.id in {*OBJECTS, "api", "options"}, f"{file.name}: {node.value.id}.{node.attr}"


@pytest.mark.parametrize("line", ["builder.build_engine(n)", "x = trt.BuilderFlag.FP16", "api.module.OldThing"])
def test_a_name_that_is_not_listed_is_found(line):
    required, probed = listed()
    assert used_names(line) - required - probed


@pytest.mark.parametrize(
    ("version", "without", "can", "cannot"),
    [
        ("10.3.0", V10_3, ("timing_cache", "dla", "workspace_limit"),
         ("runtime_config", "engine_stat", "editable_timing_cache", "compute_capabilities", "cuda_graph_strategy")),
        ("10.13.3.9", V10_13, ("runtime_config", "timing_cache", "dla"), ("cuda_graph_strategy", "engine_stat")),
        ("11.4.0.106", V11_4, ("runtime_config", "engine_stat", "timing_cache"), ("dla", "runtime_cache")),
    ],
)  # fmt: skip
def test_what_a_version_can_follows_from_its_names(version, without, can, cannot):
    api = describe(fake(version, without=without), "tensorrt")
    assert {what: getattr(api, what) for what in (*can, *cannot)} == dict.fromkeys(can, True) | dict.fromkeys(
        cannot, False
    )
    assert api.note is None
    assert api.package == f"tensorrt {version}"


def test_each_probed_capability_is_a_flag_that_its_names_decide():
    for what, paths in PROBED.items():
        assert getattr(describe(fake("11.4"), "tensorrt"), what)
        for path in paths:
            assert not getattr(describe(fake("11.4", without=(path,)), "tensorrt"), what)


@pytest.mark.parametrize("version", ["8.6.2.3", "8.5.2", "9.3.0", "10.0.1", "10.2.0", ""])
def test_an_old_version_is_refused_with_what_is_needed_and_who_has_it(version):
    with pytest.raises(BackendUnavailable) as refused:
        describe(fake(version), "tensorrt")
    text = str(refused.value)
    assert text.startswith(
        f"tensorrt {version or 'without a version'} is installed; 10.3 or newer is needed: JetPack 6.1"
    )
    assert "JetPack 7" in text and "IGX" in text and "8.x is JetPack 5" in text


def test_a_newer_major_is_tried_and_noted():
    assert describe(fake("12.1.0"), "tensorrt").note == "tensorrt 12.1.0 is newer than 11.x, the newest that was tried"
    assert "2.0" in describe(fake("2.0.1", name="tensorrt_rtx"), "tensorrt_rtx").note


def test_rtx_is_not_asked_for_what_it_only_names():
    api = describe(fake("1.7.1", name="tensorrt_rtx"), "tensorrt_rtx")
    assert api.compute_capabilities and api.cuda_graph_strategy
    assert not (api.timing_cache or api.version_compatible or api.dla)


def test_the_real_rtx_is_described():
    pytest.importorskip("tensorrt_rtx")
    api = load_api("tensorrt_rtx")
    assert api.numbers[0] == 1 and api.compute_capabilities and api.workspace_limit and api.optimization_level


@pytest.mark.parametrize(
    ("name", "message"),
    [("tensorrt", "comes with JetPack 6.1 .* only on the device"), ("tensorrt_rtx", r"edge-runtime\[tensorrt-rtx\]")],
)
def test_a_missing_package_says_where_it_comes_from(monkeypatch, name, message):
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(BackendUnavailable, match=f"{name} is not installed; .*{message}"):
        load_api(name)


@pytest.mark.parametrize("source", ["import its_missing_part\n", "raise OSError('libnvinfer.so.10: cannot open')\n"])
def test_a_broken_package_is_told_from_a_missing_one(monkeypatch, tmp_path, source):
    (tmp_path / "tensorrt.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(BackendUnavailable, match=r"tensorrt is installed and does not import: .*install it again"):
        load_api("tensorrt")
