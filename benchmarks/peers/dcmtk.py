"""DCMTK's sender and receiver, with their environment said for each: Nagle's algorithm decides what they measure."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import bound
from benchmarks.daemon import free_port
from benchmarks.record import BenchFailed

SENDER_PDU = ("-pdu", "131072")
_ALL_FILES = ("--scan-directories", "--recurse")
_PROGRAMS = ("storescu", "storescp")
_START_SECONDS = 10.0
_SEND_SECONDS = 300.0
_REQUEST = b"Sending Store Request"
_SUCCESS = b"Received Store Response (Success)"


@dataclass(frozen=True)
class Sent:
    """`seconds`: from the start of the first sender to the end of the last.

    Of a verbose send only: `last_response_at`, when the last C-STORE response reached a sender, Unix seconds, and
    `response_seconds`, from each C-STORE request to its response, the sender's encoding and sending included.
    """

    seconds: float
    acknowledged: int
    last_response_at: float
    response_seconds: tuple[float, ...] = ()


def require_dcmtk() -> None:
    """Raises BenchFailed where a program is missing."""
    path = environment(no_delay=False)["PATH"]
    missing = [program for program in _PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        raise BenchFailed(f"DCMTK is missing ({', '.join(missing)} not on PATH); install it: apt-get install dcmtk")


def environment(no_delay: bool) -> dict[str, str]:
    """This environment with TCP_NODELAY=1, or without it.

    PATH is without the virtual environment: pynetdicom installs a storescu and a storescp there that are not DCMTK's.
    """
    kept = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
    if sys.prefix != sys.base_prefix:
        own = Path(sys.prefix) / "bin"
        folders = [one for one in kept.get("PATH", os.defpath).split(os.pathsep) if Path(one) != own]
        kept["PATH"] = os.pathsep.join(folders)
    return {**kept, "TCP_NODELAY": "1"} if no_delay else kept


def send(folders: Sequence[Path], port: int, *, tuned: bool, verbose: bool = False) -> Sent:
    """Send each folder, with those in it, over one association of its own, all at the same time.

    tuned: TCP_NODELAY=1 and `-pdu 131072`; else storescu as it comes, which stops at the first failure.
    verbose: have it tell of each response, to know when the last came.

    Raises:
        BenchFailed: an instance was not answered with Success.
    """
    options = (*(SENDER_PDU if tuned else ()), *(("-v",) if verbose else ()))
    command = ["storescu", "-aet", "BENCH", "-aec", "EDGE", *options, *_ALL_FILES, "127.0.0.1", str(port)]
    began = time.monotonic()
    senders = [_Sender([*command, str(folder)], environment(tuned)) for folder in folders]
    for sender in senders:
        sender.join(_SEND_SECONDS)
    seconds = time.monotonic() - began
    acknowledged = 0
    for sender, folder in zip(senders, folders, strict=True):
        wanted = sum(1 for path in folder.rglob("*") if path.is_file())
        code = sender.process.poll()
        if code != 0 or (verbose and sender.acknowledged != wanted):
            sender.process.kill()
            raise BenchFailed(
                f"storescu to port {port} did not send all {wanted} instances: exit code {code}; "
                f"it said: {sender.last_line}"
            )
        acknowledged += wanted
    taken = [one for sender in senders for one in sender.response_seconds]
    return Sent(seconds, acknowledged, max(sender.last_response_at for sender in senders), tuple(taken))


class _Sender(threading.Thread):
    """One storescu, whose responses are counted as they come."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.acknowledged = 0
        self.last_response_at = 0.0
        self.response_seconds: list[float] = []
        self.last_line = ""
        self.process = subprocess.Popen(bound(command), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.start()

    def run(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as said:
            requested = 0.0
            for line in said:
                if _REQUEST in line:
                    requested = time.perf_counter()
                elif _SUCCESS in line:
                    self.response_seconds.append(time.perf_counter() - requested)
                    self.acknowledged += 1
                    self.last_response_at = time.time()
                self.last_line = line.decode(errors="replace").strip()
        self.process.wait()


@contextlib.contextmanager
def storescp(folder: Path, *options: str, no_delay: bool) -> Iterator[int]:
    """DCMTK's receiver writing to `folder`, without fsync; gives its port."""
    command = ["storescp", "--accept-all", *options, "--output-directory", str(folder)]
    with listening(command, folder, environment(no_delay)) as port:
        yield port


@contextlib.contextmanager
def listening(command: Sequence[str], folder: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """A server process that is given a free port as its last argument; it and its children end with the context.

    Raises:
        BenchFailed: it does not listen in time.
    """
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            bound([*command, str(port)]), env=env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait_until_open(process, port, log)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_open(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        if is_open(port):
            return
        time.sleep(0.02)
    raise BenchFailed(f"{process.args!r} does not listen on port {port}: {log.read_text(errors='replace')[-500:]}")


def is_open(port: int) -> bool:
    """True when somebody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
