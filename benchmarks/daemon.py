"""Runs the daemon as a site would, for the demo, the scenarios and the tests: the command, a spool of its own, HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import bound


class DaemonFailed(Exception):
    """The daemon ended, or did not become ready in time."""


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Daemon:
    """`edge-runtime run CONFIG --set ...` as a child process; a context manager that stops it."""

    def __init__(self, config: Path, spool: Path, overrides: Sequence[str] = (), log: Path | None = None) -> None:
        self.config = config
        self.spool = spool
        self.dicom_port = free_port()
        self.http_port = free_port()
        self.log = log or spool.parent / f"{spool.name}.log"
        self.overrides = [
            f"spool.path={spool}",
            "receive.dicom.host=127.0.0.1",
            f"receive.dicom.port={self.dicom_port}",
            f"http.port={self.http_port}",
            *overrides,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The command line."""
        sets = [part for override in self.overrides for part in ("--set", override)]
        return [sys.executable, "-m", "edge_runtime.cli", "run", str(self.config), *sets]

    def start(self) -> None:
        """Start it, without waiting."""
        self.spool.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(bound(self.command()), stdout=log, stderr=log, start_new_session=True)

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self.process is not None
        return self.process.pid

    def role_pids(self) -> dict[str, int]:
        """The process of each role that lives now."""
        found: dict[str, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    status = (entry / "stat").read_text()
                    arguments = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                parent = int(status.rpartition(")")[2].split()[1])
                if parent == self.pid and b"edge_runtime.roles.main" in arguments:
                    found[arguments[arguments.index(b"edge_runtime.roles.main") + 1].decode()] = int(entry.name)
        return found

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an HTTP request; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def wait_ready(self, seconds: float = 60.0) -> float:
        """Wait until `/readyz` says 200; how long it took.

        Raises:
            DaemonFailed: it ended, or the time is over; with the last of its log.
        """
        started = time.monotonic()
        status, body = 0, b""
        while time.monotonic() - started < seconds:
            if self.process is not None and self.process.poll() is not None:
                raise DaemonFailed(f"the daemon ended with {self.process.returncode}:\n{self.tail()}")
            status, body = self.get("/readyz")
            if status == 200:
                return time.monotonic() - started
            time.sleep(0.02)
        raise DaemonFailed(f"not ready after {seconds} s: {status} {body.decode(errors='replace')}\n{self.tail()}")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of one metric that carry the labels."""
        _, body = self.get("/metrics")
        total = 0.0
        for line in body.decode().splitlines():
            key, _, value = line.rpartition(" ")
            if key.partition("{")[0] == name and all(f'{k}="{v}"' in key for k, v in labels.items()):
                total += float(value)
        return total

    def jobs(self) -> list[dict[str, Any]]:
        """What `edge-runtime jobs list --json` says."""
        sets = [part for override in self.overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "edge_runtime.cli", "jobs", "list", str(self.config), "--json", *sets]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode != 0:
            raise DaemonFailed(done.stderr.decode())
        jobs: list[dict[str, Any]] = json.loads(done.stdout)
        return jobs

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise
        return self.process.returncode

    def kill_all(self) -> None:
        """SIGKILL for the supervisor and every role at once."""
        os.killpg(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()
