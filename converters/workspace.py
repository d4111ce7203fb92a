"""An engine's folder appears whole or not at all, and only one build at a time writes into it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converters.text_table import size
from edge_runtime.engines.passport import PASSPORT_FILE
from edge_runtime.errors import ConfigurationError, EdgeRuntimeError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_BUILT = re.compile(  # what builds, and a signature that was broken off, have left
    r"engine\.(onnx|plan)|network\.onnx|golden\.npz|(passport|calibration|report)\.json|report(-\w+)?\.(md|svg)"
    r"|\.passport\.json\..*"
)
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def check_output(output: Path) -> None:
    """See that a build may take the place of `output`: it is absent, empty or an engine's folder, with nothing else.

    Raises:
        ConfigurationError: it is something else.
    """
    if output.exists() and not output.is_dir():
        raise ConfigurationError(f"--output {output} is a file; name a folder")
    if output.is_dir() and any(output.iterdir()) and not (output / PASSPORT_FILE).is_file():
        raise ConfigurationError(f"--output {output} holds something that is no engine; name another folder")
    others = [entry.name for entry in output.iterdir() if not _BUILT.fullmatch(entry.name)] if output.is_dir() else []
    if others:
        raise ConfigurationError(
            f"--output {output} holds {sorted(others)[0]}, which no build has written and this one would remove; "
            "move it away, or name another folder"
        )


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A temporary folder beside `output` that takes its place at the end; an exception leaves everything as it was.

    Meanwhile SIGTERM and a lost terminal end the program as Ctrl-C does, so that they too leave nothing behind. What
    a build that was killed has left is removed first: put large temporary files below the folder that this yields,
    and remove them before it ends.

    Raises:
        ConfigurationError: another build writes into `output`, or `output` is no engine's folder.
        EdgeRuntimeError: the disk is full.
    """
    place = output.resolve()
    with _full_disk_named(place), _ending_as_interrupt():
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place, output):
            _clear_up(place)
            check_output(output)
            with _partial(place) as partial:
                yield partial


def write(file: Path, data: bytes) -> None:
    """Write a file of a `whole_folder` durably.

    Raises:
        EdgeRuntimeError: the disk is full; the message says how much is missing.
    """
    try:
        with file.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        if error.errno not in _FULL:
            raise
        file.unlink(missing_ok=True)
        needed, free = len(data), _free_bytes(file.parent)
        raise EdgeRuntimeError(
            f"the disk of {file.parent.parent} is full: {file.name} needs {size(needed)} and {size(free)} are free; "
            f"free at least {size(max(needed - free, 0))} more there or name another --output; nothing was changed"
        ) from error


@contextmanager
def _partial(place: Path) -> Iterator[Path]:
    partial = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent))
    old = partial.with_suffix(".old")
    try:
        partial.chmod(0o755)
        yield partial
        _sync(partial)
        if place.exists():
            place.rename(old)
        partial.rename(place)
        _sync(place.parent)
    finally:
        if old.exists() and not place.exists():
            old.rename(place)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _clear_up(place: Path) -> None:
    """Remove what killed builds into `place` have left, and put back what one was about to replace."""
    left = re.compile(rf"\.{re.escape(place.name)}\.[a-z0-9_]{{8}}\.(partial|old)")
    for found in [entry for entry in place.parent.iterdir() if left.fullmatch(entry.name)]:
        if found.suffix == ".old" and not place.exists():
            found.rename(place)
        else:
            shutil.rmtree(found)


@contextmanager
def _locked(place: Path, output: Path) -> Iterator[None]:
    """Hold `.NAME.lock` beside `place`; the lock ends with the process that holds it, whatever ends that."""
    file = place.with_name(f".{place.name}.lock")
    while True:
        with file.open("ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(
                    f"another build writes into --output {output}; wait until it has ended, or name another folder"
                ) from None
            if not _is_at(stream.fileno(), file):
                continue  # whoever held it before has removed it meanwhile
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
            return


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _ending_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP, where nothing else was made of them, raise KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    taken = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _full_disk_named(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise EdgeRuntimeError(
            f"the disk of {place.parent} is full; make room there or name another --output; nothing was changed"
        ) from error


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
