"""An engine's folder appears whole or not at all, whatever ends the build."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from converters import workspace
from converters.workspace import check_output, whole_folder, write
from edge_runtime.engines.passport import PASSPORT_FILE
from edge_runtime.errors import ConfigurationError, EdgeRuntimeError

BUILD = """
import sys, time
from pathlib import Path
from converters.workspace import whole_folder, write
try:
    with whole_folder(Path(sys.argv[1])) as folder:
        write(folder / "engine.onnx", b"half")
        print("building", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(3)
"""


@pytest.fixture
def output(tmp_path):
    """An engine that was built before."""
    folder = tmp_path / "engines" / "onnxruntime-fp32"
    folder.mkdir(parents=True)
    (folder / PASSPORT_FILE).write_bytes(b"old")
    return folder


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@contextlib.contextmanager
def building(output):
    """Another process in the middle of a build."""
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(output)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"building\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_folder_takes_the_place_of_the_old_one_whole(output):
    with whole_folder(output) as folder:
        write(folder / PASSPORT_FILE, b"new")
        write(folder / "engine.onnx", b"engine")
        assert (output / PASSPORT_FILE).read_bytes() == b"old"
    assert names(output) == ["engine.onnx", PASSPORT_FILE]
    assert names(output.parent) == [output.name]
    assert output.stat().st_mode & 0o777 == 0o755


def test_folders_above_are_made(tmp_path):
    with whole_folder(tmp_path / "a" / "b" / "c") as folder:
        write(folder / "x", b"x")
    assert (tmp_path / "a" / "b" / "c" / "x").read_bytes() == b"x"


def test_an_exception_leaves_everything_as_it_was(output):
    with pytest.raises(ZeroDivisionError), whole_folder(output) as folder:
        write(folder / "engine.onnx", b"half")
        raise ZeroDivisionError
    assert names(output) == [PASSPORT_FILE] and names(output.parent) == [output.name]


def test_where_the_new_folder_cannot_take_its_place_the_old_one_comes_back(output, monkeypatch):
    rename = workspace.Path.rename

    def fail(self, target):
        if self.suffix == ".partial":
            raise OSError(errno.EIO, "no")
        return rename(self, target)

    monkeypatch.setattr(workspace.Path, "rename", fail)
    with pytest.raises(OSError, match="no"), whole_folder(output):
        pass
    assert names(output) == [PASSPORT_FILE] and names(output.parent) == [output.name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_mid_build_leaves_nothing_half_built(output, number):
    with building(output) as process:
        assert len(names(output.parent)) == 3  # the engine, the lock, the half
        process.send_signal(number)
        assert process.wait(20) == 3
    assert names(output) == [PASSPORT_FILE] and names(output.parent) == [output.name]


def test_what_a_killed_build_left_is_removed_by_the_next_and_its_lock_blocks_nobody(output):
    with building(output) as process:
        process.kill()
        process.wait(20)
    assert len(names(output.parent)) == 3
    with whole_folder(output) as folder:
        assert names(output.parent) == sorted([folder.name, f".{output.name}.lock", output.name])
    assert names(output.parent) == [output.name]


def test_an_engine_that_a_killed_build_was_about_to_replace_is_put_back(output):
    output.rename(output.parent / f".{output.name}.abcd_123.old")
    with pytest.raises(ZeroDivisionError), whole_folder(output):
        raise ZeroDivisionError
    assert (output / PASSPORT_FILE).read_bytes() == b"old" and names(output.parent) == [output.name]


def test_what_belongs_to_builds_into_other_folders_is_left_alone(output):
    others = [".onnxruntime-fp32.other.abcd_123.partial", ".onnxruntime-int8.abcd_123.partial", ".onnxruntime-fp32.x"]
    for name in others:
        (output.parent / name).mkdir()
    with whole_folder(output):
        pass
    assert names(output.parent) == sorted([output.name, *others])


def test_a_second_build_into_the_same_folder_is_refused_at_once(output):
    with building(output) as process:
        before = names(output.parent)
        with pytest.raises(ConfigurationError, match=rf"another build writes into --output {output}; wait"):
            whole_folder(output).__enter__()
        assert names(output.parent) == before and process.poll() is None
        with whole_folder(output.parent / "onnxruntime-int8"):
            pass  # another folder is free


def test_two_paths_of_one_folder_are_one_folder(output, tmp_path):
    (tmp_path / "link").symlink_to(output)
    with building(output), pytest.raises(ConfigurationError, match="another build"):
        whole_folder(tmp_path / "link").__enter__()
    with whole_folder(tmp_path / "link") as folder:
        write(folder / PASSPORT_FILE, b"new")
    assert (tmp_path / "link").is_symlink() and (output / PASSPORT_FILE).read_bytes() == b"new"


def test_a_lock_that_its_holder_removed_meanwhile_is_taken_anew(output, monkeypatch):
    answers = iter([False, True])
    monkeypatch.setattr(workspace, "_is_at", lambda descriptor, file: next(answers))
    with whole_folder(output):
        assert list(answers) == []
    assert names(output.parent) == [output.name]


def test_signals_are_the_programs_own_again_after_the_build(output):
    with whole_folder(output):
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_program_that_ignores_a_lost_terminal_goes_on_ignoring_it(output):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with whole_folder(output):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_may_build(output):
    def build():
        with whole_folder(output) as folder:
            write(folder / PASSPORT_FILE, b"new")

    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    assert (output / PASSPORT_FILE).read_bytes() == b"new"


def test_a_full_disk_anywhere_in_a_build_is_named(output):
    with pytest.raises(EdgeRuntimeError, match=f"the disk of {output.parent} is full"), whole_folder(output):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), whole_folder(output):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_what_somebody_put_into_an_engines_folder_is_not_removed(output):
    (output / "notes.txt").write_text("for the site")
    with pytest.raises(ConfigurationError, match=r"holds notes\.txt, which no build has written"):
        check_output(output)
    assert (output / "notes.txt").read_text() == "for the site"


def test_what_is_no_engine_is_not_replaced(output, tmp_path):
    (output / PASSPORT_FILE).rename(output / "thesis.txt")
    for check in (check_output, lambda place: whole_folder(place).__enter__()):
        with pytest.raises(ConfigurationError, match="holds something that is no engine"):
            check(output)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match="is a file; name a folder"):
        check_output(file)
    assert names(output) == ["thesis.txt"] and names(output.parent) == [output.name]
