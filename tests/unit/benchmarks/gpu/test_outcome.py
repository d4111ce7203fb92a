"""What a step says becomes an outcome, and nothing that did not run is counted as passed."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import engines, facts, tests
from benchmarks.gpu.outcome import Done, Outcome, counted, failed, not_run, passed, table
from benchmarks.gpu.running import Ended, run
from benchmarks.gpu.steps import FACTS, Step, scenario_verdict, steps


def ended(code, said):
    return Ended(code, 1.0, said)


@pytest.mark.parametrize(
    ("code", "said", "outcome"),
    [
        (0, "......\n6 passed in 0.10s", Outcome.PASSED),
        (0, "...\nSKIPPED [2] a.py:3: no GPU\n1 passed, 2 skipped in 0.10s", Outcome.PASSED),
        (0, "SKIPPED [3] a.py:3: no GPU\n3 skipped in 0.10s", Outcome.NOT_RUN),
        (5, "no tests ran in 0.10s", Outcome.NOT_RUN),
        (1, "FAILED a.py::test_b - assert\n1 failed, 5 passed in 0.10s", Outcome.FAILED),
        (1, "ERROR a.py::test_b - broken\n1 error in 0.10s", Outcome.FAILED),
        (-11, "Segmentation fault", Outcome.FAILED),
    ],
)
def test_a_run_of_tests_passes_only_where_tests_passed_and_none_failed(code, said, outcome):
    assert tests.read(ended(code, said)).outcome is outcome


def test_skipped_tests_are_told_with_their_reasons():
    verdict = tests.read(ended(0, "SKIPPED [2] a.py:3: needs pycuda\n1 passed, 2 skipped in 0.10s"))
    assert verdict.details["skipped"] == ["2 x a.py:3: needs pycuda"] and verdict.figure == "1 passed, 2 skipped"


def scenario(state="complete", **verdicts):
    target = {"bound": 1.05, "at_least": False}
    figures = {n: {"median": 1.2, "unit": "ratio", "target": target, "verdict": v} for n, v in verdicts.items()}
    return {"state": state, "problems": ["it broke"], "figures": {"plain": {"median": 1, "unit": "ms"}, **figures}}


def test_a_scenario_passes_where_it_ended_and_no_target_was_missed():
    assert scenario_verdict(scenario()).outcome is Outcome.PASSED
    within = scenario_verdict(scenario(a="met", b="within noise"))
    assert (within.outcome, within.figure) == (Outcome.PASSED, "1 of 2 targets met")
    missed = scenario_verdict(scenario(a="met", b="not met"))
    assert missed.outcome is Outcome.FAILED and "b 1.2 ratio (<= 1.05)" in missed.why
    assert scenario_verdict(scenario("failed")).why == "it broke"


def test_a_device_that_is_not_there_is_not_run_and_one_that_fails_has_failed():
    assert facts.read({"absent": "no driver"}).outcome is Outcome.NOT_RUN
    assert facts.read({"failed": "CUDA_ERROR_UNKNOWN"}).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("found", "code", "outcome"),
    [
        ({"a": "right", "b": "not run"}, 0, Outcome.PASSED),
        ({"a": "right", "b": "wrong"}, 0, Outcome.FAILED),
        ({"a": "not run"}, 0, Outcome.NOT_RUN),
        ({}, 0, Outcome.NOT_RUN),
        ({"a": "right"}, -11, Outcome.FAILED),
    ],
)
def test_engines_pass_where_one_is_right_and_none_is_wrong(tmp_path, found, code, outcome):
    document = {name: {"outcome": what, "why": "because"} for name, what in found.items()}
    (tmp_path / "engines.json").write_text(json.dumps(document))
    assert engines.read(ended(code, "x"), SimpleNamespace(work=tmp_path)).outcome is outcome


def test_the_table_has_a_line_a_step_and_counts_each_outcome_apart():
    done = [
        Done("a", passed("3 passed"), 1.0),
        Done("b", failed("broken"), 2.0),
        Done("c", not_run("no module x"), 0.0),
    ]
    lines = table(done).splitlines()
    assert len(lines) == 4 and "not run: no module x" in lines[3]
    assert counted(done) == "1 passed, 1 failed, 1 not run"


def test_a_step_without_its_module_is_not_run_and_names_it():
    assert Step("x", 1, ("numpy", "no_such_module"), lambda _: [], lambda *_: passed()).missing() == "no_such_module"


def test_the_steps_have_names_of_their_own():
    names = [one.name for one in (FACTS, *steps())]
    assert len(set(names)) == len(names) and {"kernels", "contracts", "speed", "engines", "graphs"} <= set(names)


def test_a_step_that_does_not_end_is_ended_with_all_that_it_started(tmp_path):
    up = str(tmp_path / "up")
    script = f"import subprocess, time; subprocess.Popen(['sleep', '60']); open({up!r}, 'w'); time.sleep(60)"
    began = time.monotonic()
    found = run([sys.executable, "-c", script], {"PATH": "/usr/bin:/bin"}, 1.5, tmp_path / "log")
    assert found.code is None and time.monotonic() - began < 30 and (tmp_path / "up").exists()


def test_without_a_gpu_it_says_why_writes_nothing_and_ends_with_0(tmp_path, capsys, monkeypatch):
    def no_driver(self, step, **_):
        (self._plan.work / "facts.json").write_text(json.dumps({"absent": "no driver is installed"}))

    monkeypatch.setattr(command._Command, "_do", no_driver)
    out = tmp_path / "out.json"
    assert command.main(["--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert said == "there is no GPU here, so nothing was tested: no driver is installed\n" and not out.exists()


def test_a_step_that_fails_lets_the_others_run_and_makes_the_exit_code_1(tmp_path, capsys, monkeypatch):
    def step(name, script):
        return Step(name, 20, (), lambda _: [sys.executable, "-c", script], lambda e, _: tests.read(e))

    chosen = [step("first", "print('1 failed in 1s'); raise SystemExit(1)"), step("second", "print('2 passed in 1s')")]
    monkeypatch.setattr(command, "steps", lambda: chosen)
    monkeypatch.setattr(command, "FACTS", step("device", "print('1 passed in 1s')"))
    out = tmp_path / "out.json"
    assert command.main(["--json", str(out)]) == 1
    document = json.loads(out.read_text())
    assert [one["outcome"] for one in document["steps"]] == ["passed", "failed", "passed"]
    assert document["state"] == "complete" and "1 failed" in capsys.readouterr().out


def test_what_was_done_until_an_interruption_is_kept_and_said_to_be_partial(tmp_path, capsys, monkeypatch):
    def interrupted():
        yield Step(
            "first", 20, (), lambda _: [sys.executable, "-c", "print('2 passed in 1s')"], lambda e, _: tests.read(e)
        )
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "steps", interrupted)
    monkeypatch.setattr(command, "FACTS", next(interrupted()))
    out = tmp_path / "out.json"
    assert command.main(["--json", str(out)]) == 1
    document = json.loads(out.read_text())
    assert "interrupted" in document["state"] and len(document["steps"]) == 2


def test_on_the_emulated_driver_nothing_is_written_among_the_results(capsys):
    assert command.main(["--emulated"]) == 2
    assert command.main(["--emulated", "--json", str(command.RESULTS / "gpu" / "x.json")]) == 2
    assert "--emulated" in capsys.readouterr().err


def test_importing_the_command_loads_no_driver_and_no_inference_library():
    code = "import sys, benchmarks.gpu.__main__; print({'cuda', 'tensorrt', 'onnxruntime'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_step_that_there_is_not_is_refused(capsys):
    assert command.main(["--steps", "kernels,kernel"]) == 2
    assert "no step 'kernel'" in capsys.readouterr().err
