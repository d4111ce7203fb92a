"""Who must go on where a driver never answers asks it by another process."""

import sys

import pytest
from support import host_cuda

from edge_runtime.device import probe


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    """A driver is installed, and nobody has been asked yet."""
    monkeypatch.setattr(probe.ctypes, "CDLL", lambda name: None)
    probe.forget()
    yield
    probe.forget()
    while probe._unanswered:
        probe._unanswered.pop().communicate()


def answering(monkeypatch, code):
    monkeypatch.setattr(probe, "_COMMAND", (sys.executable, "-c", code))


def test_the_drivers_answer_comes_from_a_process_of_its_own(monkeypatch):
    for name, value in host_cuda.environment(name="Emulated", devices=2).items():
        monkeypatch.setenv(name, value)
    assert probe.asked() == probe.Driver((13, 0), ("Emulated", "Emulated"))


def test_why_there_is_none_comes_from_it_too(monkeypatch):
    for name, value in host_cuda.environment(driver_version=12020).items():
        monkeypatch.setenv(name, value)
    assert "runs CUDA up to 12.2, not 12.6" in probe.asked()


def test_a_driver_that_never_answers_holds_nobody(monkeypatch):
    monkeypatch.setattr(probe, "ASK_SECONDS", 0.2)
    answering(monkeypatch, "import time; time.sleep(60)")
    assert probe.asked() == "the NVIDIA driver does not answer within 0.2 s; restart the computer"


@pytest.mark.parametrize("code", ["import os; os.abort()", "print('nonsense')", "print('[1]')", "print('{}')"])
def test_a_driver_that_kills_its_caller_is_told(monkeypatch, code):
    answering(monkeypatch, code)
    assert "the process that asked the NVIDIA driver ended with" in probe.asked()


def test_an_answer_is_kept_for_a_while_and_asked_anew_after_that(monkeypatch):
    answering(monkeypatch, "print('\"first\"')")
    assert probe.asked() == "first"
    answering(monkeypatch, "print('\"second\"')")
    assert probe.asked() == "first"
    monkeypatch.setattr(probe, "ASK_AGAIN_SECONDS", 0.0)
    assert probe.asked() == "second"
