"""trtexec as a peer: how it is called, and what is made of the times that it exports."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peers import trtexec
from benchmarks.record import BenchFailed

# Written by hand in the layout of exportJSONTrace (NVIDIA/TensorRT, samples/common/sampleReporting.cpp): no GPU has
# made these times. The first run belongs to the warm-up of 200 ms, which older versions export too.
GOLDEN = """[
  { "startEnqMs" : 199.1, "endEnqMs" : 199.3, "startH2dMs" : 199.0, "endH2dMs" : 199.2, "startComputeMs" : 199.25,
    "endComputeMs" : 201.25, "startD2hMs" : 201.25, "endD2hMs" : 201.35, "h2dMs" : 0.2, "computeMs" : 2,
    "d2hMs" : 0.1, "latencyMs" : 2.3 }
, { "startEnqMs" : 201.4, "endEnqMs" : 201.5, "startH2dMs" : 201.3, "endH2dMs" : 201.55, "startComputeMs" : 201.6,
    "endComputeMs" : 203.1, "startD2hMs" : 203.1, "endD2hMs" : 203.225, "h2dMs" : 0.25, "computeMs" : 1.5,
    "d2hMs" : 0.125, "latencyMs" : 1.875 }
, { "startEnqMs" : 203.3, "endEnqMs" : 203.45, "startH2dMs" : 203.2, "endH2dMs" : 203.7, "startComputeMs" : 203.75,
    "endComputeMs" : 206.75, "startD2hMs" : 206.75, "endD2hMs" : 207, "h2dMs" : 0.5, "computeMs" : 3,
    "d2hMs" : 0.25, "latencyMs" : 3.75 }
]
"""
OLD, NEW = "--useCudaGraph --useSpinWait --noDataTransfers", "--includeDataTransfers --noCudaGraph --noSpinWait"
PROGRAM = """#!/bin/sh
echo "$@" >> "{log}"
[ "$1" = --help ] && {{ echo "Options: {options}"; exit 0; }}
for one in "$@"; do case "$one" in --exportTimes=*) cp "{golden}" "${{one#--exportTimes=}}";; esac; done
echo "&&&& {outcome} TensorRT.trtexec"
exit {code}
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a program on PATH that exports the golden times; returns its log."""

    def write(name="trtexec", options=OLD, code=0, golden=GOLDEN):
        folder = tmp_path / "bin"
        folder.mkdir()
        (tmp_path / "golden.json").write_text(golden)
        text = PROGRAM.format(log=tmp_path / "log", options=options, golden=tmp_path / "golden.json", code=code,
                              outcome="FAILED" if code else "PASSED")  # fmt: skip
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return tmp_path / "log"

    return write


def test_the_exported_times_are_read_without_the_warm_up():
    runs = trtexec.parse_times(GOLDEN, 200)
    assert runs.h2d == pytest.approx([0.00025, 0.0005]) and runs.d2h == pytest.approx([0.000125, 0.00025])
    assert runs.compute == pytest.approx([0.0015, 0.003]) and runs.enqueue == pytest.approx([0.0001, 0.00015])
    exported = [one["latencyMs"] / 1000 for one in json.loads(GOLDEN)]
    assert runs.latency == pytest.approx(exported[1:]) and not runs.wall
    assert trtexec.parse_times(GOLDEN, 0).latency == pytest.approx(exported)


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e3)), min_size=1), st.floats(0, 1e4))
def test_every_run_after_the_warm_up_counts_and_no_other(times, warm_up_ms):
    entries = [{"startEnqMs": s, "endEnqMs": s, "startComputeMs": s, "h2dMs": 0, "computeMs": c, "d2hMs": 0}
               for s, c in times]  # fmt: skip
    expected = [c / 1000 for s, c in times if s >= warm_up_ms]
    if expected:
        assert trtexec.parse_times(json.dumps(entries), warm_up_ms).compute == expected
    else:
        with pytest.raises(BenchFailed, match="none began after"):
            trtexec.parse_times(json.dumps(entries), warm_up_ms)


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '[{"startComputeMs": 300}]', "[]"])
def test_times_that_are_none_are_refused(text):
    with pytest.raises(BenchFailed, match="exported"):
        trtexec.parse_times(text, 200)


@pytest.mark.parametrize(("options", "asked"), [(OLD, []), (NEW, NEW.split())])
def test_transfers_are_in_and_graphs_and_spinning_off_whatever_the_version_s_defaults(
    tmp_path, install, options, asked
):
    log = install(options=options)
    runs = trtexec.find("tensorrt").run(tmp_path / "x.engine", 2, tmp_path)
    assert len(runs.latency) == 2
    _, arguments = (line.split() for line in log.read_text().splitlines())
    assert {f"--loadEngine={tmp_path / 'x.engine'}", "--iterations=2", "--duration=0"} <= set(arguments)
    assert [one for one in arguments if one in f"{OLD} {NEW}".split()] == asked


def test_tensorrt_rtx_has_a_program_of_its_own(install):
    install("tensorrt_rtx")
    assert trtexec.find("tensorrt_rtx").program.endswith("/tensorrt_rtx")
    with pytest.raises(FileNotFoundError, match="trtexec is not on PATH"):
        trtexec.find("tensorrt")


def test_a_run_that_fails_says_what_it_said(tmp_path, install):
    install(code=3)
    with pytest.raises(BenchFailed, match=r"ended with 3: &&&& FAILED"):
        trtexec.find("tensorrt").run(tmp_path / "x.engine", 2, tmp_path)


def test_a_program_that_exports_nothing_is_named(tmp_path):
    with pytest.raises(BenchFailed, match=r"/bin/true exported no times of .*x\.engine"):
        trtexec.Trtexec("/bin/true", ()).run(tmp_path / "x.engine", 2, tmp_path)
