"""A program that is read: it is told apart from one that is silent, ends with capture, and its words keep secrets."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.capturing import wait_for
from support.videos import write_video

from edge_runtime.capture.command import Command
from edge_runtime.capture.source import Kind, SourceFailed, open_source
from edge_runtime.config import Video


@pytest.fixture
def started():
    commands = []

    def start(command, timeout_seconds=10.0):
        commands.append(Command(command, timeout_seconds))
        return commands[-1]

    yield start
    for command in commands:
        command.close()


def script(folder, text):
    file = folder / "program.sh"
    file.write_text(text)
    return f"sh {file}"


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_goes_silent_is_waited_for_once(started, tmp_path):
    command = started(script(tmp_path, "echo a; exec sleep 600"), timeout_seconds=0.2)
    assert command.read(10) == b"a\n"
    with pytest.raises(TimeoutError):
        command.read(10)
    command.timeout_seconds = 600.0
    assert command.read(10) == b"", "a demuxer that reads again has no further wait"


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_a_stream_of_a_program_that_goes_silent_ends_with_one_wait(started, tmp_path, suffix):
    file = write_video(tmp_path / f"a.{suffix}", 10)
    command = started(script(tmp_path, f"cat {file}; exec sleep 600"), timeout_seconds=0.5)
    waits, read = [], command.read

    def reading(count):
        before = time.monotonic()
        try:
            return read(count)
        except TimeoutError:
            waits.append(time.monotonic() - before)
            raise

    command.read = reading
    source = open_source(Video("a", "p", command="x"), Kind.COMMAND, command)
    with pytest.raises((TimeoutError, OSError)):
        list(source.container.demux(source.stream))
    source.close()
    assert len(waits) == 1


def test_a_program_and_what_it_started_are_killed_though_they_ignore_the_polite_signals(started, tmp_path):
    command = started(script(tmp_path, "trap '' TERM HUP INT; sleep 600 & echo $$ $!; wait"))
    pids = command.read(100).split()
    assert len(pids) == 2 and all(is_running(int(pid)) for pid in pids)
    command.close()
    wait_for(lambda: not any(is_running(int(pid)) for pid in pids), "their end")


def test_what_a_program_leaves_behind_is_killed_when_it_ends(started, tmp_path):
    command = started(script(tmp_path, "sleep 600 >&- 2>&- & echo $!"))
    pid = int(command.read(100))
    assert command.read(100) == b""
    wait_for(lambda: not is_running(pid), "the end of what it started")
    assert command.close() == 0


def test_the_program_dies_with_capture_however_that_dies(tmp_path):
    text = script(tmp_path, "trap '' TERM HUP INT; sleep 600 & echo $$ $!; wait")
    code = (
        "from edge_runtime.capture.command import Command\n"
        f"c = Command({text!r}, 60.0); print(c.read(100).decode(), flush=True); c.read(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as capture:
        pids = [int(word) for word in capture.stdout.readline().split()]
        assert len(pids) == 2 and all(is_running(pid) for pid in pids)
        os.kill(capture.pid, signal.SIGKILL)
    wait_for(lambda: not any(is_running(pid) for pid in pids), "their end")


def test_a_program_that_cannot_be_started_says_why(started, tmp_path):
    (tmp_path / "plain").write_text("x")
    with pytest.raises(FileNotFoundError):
        started("/no/such/program")
    with pytest.raises(PermissionError):
        started(str(tmp_path / "plain"))
    with pytest.raises(ValueError, match="no program"):
        started(" ")


def test_its_status_is_told(started, tmp_path):
    command = started(script(tmp_path, "exit 3"))
    assert command.read(1) == b"" and command.close() == 3


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://me:secret@there/a",
        "rtsp://me:sec/secret@there/a",
        "rtsp://me:secret@secret@there/a",
        "http://there/a?user=me&password=secret",
        "/a?password=secret",
    ],
)
def test_what_it_says_of_an_address_holds_no_secret(started, tmp_path, address):
    command = started(script(tmp_path, f"echo 'cannot open {address} now' >&2"))
    assert command.read(1) == b""
    command.close()
    assert "secret" not in command.last_line
    assert command.last_line.startswith("cannot open ") and command.last_line.endswith(" now")


@pytest.mark.parametrize("suffix", ["mkv", "ts", "nut", "y4m"])
def test_the_formats_that_a_program_may_write_are_read(started, tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    if suffix == "y4m":
        file.write_bytes(b"YUV4MPEG2 W64 H64 F25:1 Ip A1:1 C420\n" + 5 * (b"FRAME\n" + bytes(64 * 64 * 3 // 2)))
    else:
        write_video(file, 5)
    source = open_source(Video("a", "p", command="x"), Kind.COMMAND, started(f"cat {file}"))
    assert next(source.container.demux(source.stream)).size
    source.close()


def test_a_program_cannot_make_ffmpeg_read_files(started, tmp_path):
    write_video(tmp_path / "other.mp4", 5)
    playlist = tmp_path / "a.txt"
    playlist.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(SourceFailed):
        open_source(Video("a", "p", command="x"), Kind.COMMAND, started(f"cat {playlist}"))
