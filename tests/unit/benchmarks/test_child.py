"""Processes of a benchmark end with it."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from benchmarks.child import bound

STARTS_ONE = (
    "import subprocess, sys, time; from benchmarks.child import bound\n"
    "told = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
    "subprocess.Popen(bound([sys.executable, '-c', told]), start_new_session=True); time.sleep(60)"
)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="util-linux is not installed")
def test_a_benchmark_that_is_killed_leaves_nothing_running():
    """The pipe that both hold open is closed only when the last of them has ended."""
    with subprocess.Popen([sys.executable, "-c", STARTS_ONE], stdout=subprocess.PIPE) as bench:
        pid = int(bench.stdout.readline())
        os.kill(pid, 0)
        bench.send_signal(signal.SIGKILL)
        assert bench.communicate(timeout=20)[0] == b""


def test_without_setpriv_the_command_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert bound(["a", "b"]) == ["a", "b"]
