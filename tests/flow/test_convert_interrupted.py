"""A build that is ended half-way leaves nothing, and two of them do not write into one folder."""

import signal
import subprocess
import sys

import pytest
from support.models import write_card
from support.pictures import bright_card, bright_network, write_pictures

from edge_runtime.engines.verify import verify


@pytest.fixture
def folder(tmp_path):
    folder = write_card(tmp_path / "engines", bright_card(), bright_network())
    write_pictures(folder / "calibration", 200, seed=1)
    write_pictures(folder / "holdout", 20, seed=2)
    return folder


@pytest.fixture
def started(folder):
    """Builds that were started and have said that they calibrate; all are ended afterwards."""
    running = []

    def start():
        command = [sys.executable, "-m", "converters.cli", "build", str(folder), "--target", "onnxruntime",
                   "--precision", "int8", "--output", str(folder / "onnxruntime-int8")]  # fmt: skip
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stderr.close()


def until(process, text):
    """The line that holds the text, or all that was said."""
    said = []
    for line in process.stderr:
        said.append(line)
        if text in line:
            return line
    return "".join(said)


def left(folder):
    return sorted(p.name for p in folder.iterdir())


BEFORE = ["calibration", "holdout", "model.yaml", "tiny.onnx"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_build_and_leaves_nothing(folder, started, number):
    process = started()
    assert "calibrating" in until(process, "calibrating")
    process.send_signal(number)
    assert "interrupted; nothing was written" in until(process, "interrupted")
    assert process.wait() == 1
    assert left(folder) == BEFORE


def test_what_a_killed_build_leaves_is_gone_after_the_next(folder, started):
    process = started()
    assert "calibrating" in until(process, "calibrating")
    process.kill()
    process.wait()
    assert [name for name in left(folder) if name.endswith(".partial")]
    assert not (folder / "onnxruntime-int8").exists()
    again = started()
    assert until(again, "nothing ends so") and again.wait() == 0
    assert left(folder) == sorted([*BEFORE, "onnxruntime-int8"])
    verify(folder / "onnxruntime-int8", (), allow_unsigned=True)


def test_a_second_build_into_the_same_folder_is_refused_and_the_first_goes_on(folder, started):
    first = started()
    assert "calibrating" in until(first, "calibrating")
    second = started()
    assert "another build writes into" in until(second, "another build")
    assert second.wait() == 78
    assert until(first, "nothing ends so") and first.wait() == 0
    verify(folder / "onnxruntime-int8", (), allow_unsigned=True)
