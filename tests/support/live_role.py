"""The role `live` as a process of its own, over the real socket and the real memory; the test plays infer."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import yaml
from PIL import Image
from support.live_results import COLUMNS, ROWS, frame_result, number_of, numbered

from edge_runtime.config import Config
from edge_runtime.frames.channels import VARIABLE, create_channels
from edge_runtime.frames.frame_result import FrameResult, encode
from edge_runtime.frames.slot import SlotReader, SlotWriter
from edge_runtime.roles.link import send, socket_pair
from edge_runtime.spool.spool import prepare_spool
from edge_runtime.yaml_schema import read_schema

SOURCES = ("tower-1", "tower-2")


class LiveRole:
    """A supervisor, capture and infer of two sources, as far as the role sees them."""

    def __init__(self, folder: Path, destinations: Sequence[dict[str, Any]] = (), **video: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "live.log"
        self._file = folder / "live.yaml"
        pipeline = {
            "name": "endoscopy",
            "stages": [{"name": "boxes", "engine": "endoscopy-boxes"}],
            "send_to": [destination["name"] for destination in destinations],
        }
        plain = {"pipeline": "endoscopy", "url": "rtsp://127.0.0.1/x", "display_age_seconds": 2.0, **video}
        document = {
            "spool": {"path": str(folder / "spool"), "reserve_bytes": 0},
            "pipelines": [pipeline],
            "destinations": list(destinations),
            "video": [{"name": name, **plain} for name in SOURCES],
        }
        self._file.write_text(yaml.safe_dump(document))
        self.config = read_schema(Config, self._file, ())
        prepare_spool(self.config)
        self.channels = create_channels(self.config)
        self._frames = {name: SlotWriter(self.channels.sources[name].frames) for name in SOURCES}
        self._pictures = {name: SlotReader(self.channels.sources[name].picture) for name in SOURCES}
        self._values: dict[tuple[str, ...], float] = {}
        self._ready = False
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it works."""
        self._ready = False
        self._end, theirs = socket_pair()
        command = [sys.executable, "-m", "edge_runtime.roles.main", "live", str(theirs.fileno()), str(self._file)]
        inherited = [theirs.fileno(), *self.channels.descriptors()]
        environment = {**os.environ, VARIABLE: self.channels.to_text()}
        with self._log.open("ab") as log, theirs:
            self.process = subprocess.Popen(command, pass_fds=inherited, env=environment, stderr=log)
        self.wait(lambda: self._ready)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self.process is not None
        send(self._end, {"stop": 5.0, "replaced": False})
        code = self.process.wait(20)
        self._hear()
        self._forget()
        return code

    def kill(self) -> None:
        """End it without a word."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._hear()
        self._forget()

    def capture(self, source: str, number: int, age_seconds: float = 0.0) -> FrameResult:
        """Publish a frame that was captured some time ago, and conclude it: its result, which is not sent yet."""
        at = time.monotonic() - age_seconds
        header = self._frames[source].publish(numbered(number), at, time.time() - age_seconds)
        assert header is not None
        buffer = int(os.pread(self.channels.sources[source].frames.memory, 1, 0)[0])
        return frame_result(
            source, header.sequence, buffer=buffer, captured_at=at, captured_unix=header.captured_unix,
            concluded_at=at + 0.03, rows=ROWS, columns=COLUMNS, notes=(f"frame {number}",),
        )  # fmt: skip

    def send(self, *results: FrameResult) -> int:
        """What infer does; how many it lost because the way was full."""
        lost = 0
        for result in results:
            try:
                os.write(self.channels.results_in, encode(result))
            except BlockingIOError:
                lost += 1
        return lost

    def picture(self, source: str) -> tuple[dict[str, Any], int] | None:
        """What the page would show: the words, and the number of the frame in the picture."""
        lease = self._pictures[source].newest()
        if lease is None:
            return None
        with lease:
            content = lease.pixels.tobytes()
        end = 4 + int.from_bytes(content[:4], "little")
        return json.loads(content[4:end]), number_of(np.asarray(Image.open(io.BytesIO(content[end:]))))

    def count(self, name: str, *labels: str) -> float:
        """A metric's value, as the role reported it last; 0 before it did."""
        self._hear()
        return self._values.get((name, *labels), 0.0)

    def wait(self, condition: Any, seconds: float = 30.0) -> None:
        """Until the condition holds."""
        until = time.monotonic() + seconds
        while not condition():
            self._hear()
            assert self.process is None or self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, f"not within {seconds} s; {self._values}; {self._log.read_text()}"
            time.sleep(0.01)

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    def __enter__(self) -> LiveRole:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.kill()
        for slot in (*self._frames.values(), *self._pictures.values()):
            slot.close()
        self.channels.close()

    def _forget(self) -> None:
        self.process = None
        self._end.close()

    def _hear(self) -> None:
        for message in self._messages():
            if "state" in message:
                self._ready = self._ready or message["state"]["ready"]
            for name, labels, value in message.get("metrics", []):
                self._values[(name, *labels)] = value if not isinstance(value, list) else sum(value[:-1])

    def _messages(self) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(BlockingIOError, OSError):
            while data := self._end.recv(1_000_000):
                yield json.loads(data)
