"""The role `capture` in its own process, as the supervisor starts it, with the slot and the metrics to look at."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from support.rtsp_peer import free_port

from edge_runtime.config import Config
from edge_runtime.frames.channels import VARIABLE, create_channels
from edge_runtime.frames.slot import Lease, SlotReader
from edge_runtime.roles.link import send, socket_pair
from edge_runtime.yaml_schema import read_schema

LIMIT_SECONDS = 40.0
NAME = "tower"

__all__ = ["Capture", "free_port", "wait_for"]


def wait_for(condition: Callable[[], Any], what: str, limit_seconds: float = LIMIT_SECONDS) -> Any:
    """What the condition gives once it is true."""
    until = time.monotonic() + limit_seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {limit_seconds:g} s: {what}")


class Capture:
    """One process that captures one source."""

    def __init__(self, folder: Path, **video: Any) -> None:
        stages = [{"name": "a", "engine": "e"}]
        said = {
            "spool": {"path": str(folder / "spool")},
            "pipelines": [{"name": "live", "stages": stages}],
            "video": [{"name": NAME, "pipeline": "live", "maximum_pixels": 921_600, **video}],
        }
        (folder / "spool" / "run").mkdir(parents=True, exist_ok=True)
        file = folder / "site.yaml"
        file.write_text(yaml.safe_dump(said))
        self.channels = create_channels(read_schema(Config, file, ()))
        self.slot = SlotReader(self.channels.sources[NAME].frames)
        self.log = folder / "log.txt"
        self._samples: dict[tuple[str, tuple[str, ...]], float] = {}
        self.state: dict[str, Any] = {}
        self._seen = 0
        ours, theirs = socket_pair()
        ours.setblocking(True)
        self._end = ours
        with theirs, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_runtime.roles.main", f"capture-{NAME}", str(theirs.fileno()), str(file)],
                pass_fds=[theirs.fileno(), *self.channels.descriptors()],
                stderr=log,
                env={**os.environ, VARIABLE: self.channels.to_text()},
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._end.recv(4_000_000):
                message = json.loads(data)
                self.state = message.get("state", self.state)
                came = {(name, tuple(labels)): value for name, labels, value in message.get("metrics", ())}
                self._samples = {**self._samples, **came}

    def frames(self, outcome: str) -> int:
        """How many frames had this outcome."""
        return int(self._samples.get(("edge_video_frames_total", (NAME, outcome)), 0))

    def connects(self, outcome: str) -> int:
        """How many attempts to open the source had this outcome."""
        return int(self._samples.get(("edge_video_connects_total", (NAME, outcome)), 0))

    def number(self, name: str) -> float | None:
        """Another metric of the source."""
        return self._samples.get((name, (NAME,)))

    def is_in(self, state: str) -> bool:
        """True when the source is in this state, and in no other."""
        found = {labels[1]: value for (name, labels), value in self._samples.items() if name == "edge_video_state"}
        return found.get(state) == 1.0 and sum(found.values()) == 1.0

    def wait_state(self, state: str) -> None:
        """Wait until the source is in this state."""
        wait_for(lambda: self.is_in(state), f"{state}; {self.log.read_text()}")

    def wait_frame(self) -> Lease:
        """Borrow the next frame that was not seen yet."""
        lease: Lease = wait_for(lambda: self.slot.newest(self._seen), f"a new frame; {self.log.read_text()}")
        self._seen = lease.header.sequence
        return lease

    def pictures(self, until: Callable[[], bool], limit_seconds: float = LIMIT_SECONDS) -> Iterator[Lease]:
        """Every frame that is found in the slot until a condition holds."""
        end = time.monotonic() + limit_seconds
        while not until():
            assert time.monotonic() < end, self.log.read_text()
            lease = self.slot.newest(self._seen)
            if lease is None:
                time.sleep(0.002)
                continue
            self._seen = lease.header.sequence
            with lease:
                yield lease

    def open_files(self) -> int:
        """How many file descriptors it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def status(self, key: str) -> int:
        """A number of /proc/PID/status: Threads, VmRSS (kB)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:")))

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        send(self._end, {"stop": 1.0, "replaced": False})
        try:
            self.code = self.process.wait(10.0)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            raise
        finally:
            self._end.shutdown(socket.SHUT_RDWR)
            self._listener.join(5.0)
            self._end.close()
            self.slot.close()
            self.channels.close()
