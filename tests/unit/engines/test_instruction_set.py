"""Where an INT8 network answers the same as where it was made for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.engines import instruction_set as module
from edge_runtime.engines.instruction_set import (
    INSTRUCTION_SETS,
    architecture_of,
    has_vnni,
    instruction_set,
    of_cpuinfo,
    runs_on,
)

SETS = st.sampled_from(INSTRUCTION_SETS)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu sse sse2 sse4_1", "sse"),
        ("flags\t\t: sse avx avx2", "avx2"),
        ("flags\t\t: sse avx2 avx512f avx512bw", "avx2"),
        ("flags\t\t: sse avx2 avx_vnni", "avx_vnni"),
        ("flags\t\t: sse avx2 avx_vnni avx512_vnni", "avx512_vnni"),
        ("Features\t: fp asimd evtstrm", "asimd"),
        ("Features\t: fp asimd asimddp", "asimddp"),
        ("isa : rv64imafdc", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_best_set_of_a_processor_is_found(flags, expected):
    assert of_cpuinfo(f"processor\t: 0\n{flags}\nbugs\t: spectre\n") == expected


def test_cores_that_differ_count_as_the_weakest():
    assert of_cpuinfo("flags : sse avx2 avx_vnni\nflags : sse avx2\n") == "avx2"


def test_a_machine_without_that_file_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
    assert instruction_set() == "unknown"


def test_this_machine_is_known():
    assert instruction_set() in INSTRUCTION_SETS


@given(SETS)
def test_every_set_runs_where_it_was_made(name):
    assert runs_on(name, name)
    assert not runs_on(name, "unknown")


@given(SETS, SETS)
def test_nothing_that_needs_vnni_runs_without_it(recorded, here):
    if runs_on(recorded, here):
        assert has_vnni(here) or not has_vnni(recorded)
        assert architecture_of(recorded) == architecture_of(here)


@given(SETS, SETS, SETS)
def test_running_on_is_transitive(first, second, third):
    if runs_on(first, second) and runs_on(second, third):
        assert runs_on(first, third)


def test_what_avoids_saturation_runs_on_anything_newer():
    assert runs_on("avx2", "avx_vnni") and runs_on("avx2", "avx512_vnni")
    assert not runs_on("avx2", "sse") and not runs_on("avx2", "asimddp")
    assert runs_on("avx_vnni", "avx512_vnni") and runs_on("avx512_vnni", "avx_vnni")
