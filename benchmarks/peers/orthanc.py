"""Orthanc as a receiver, and with its Python plugin as a runtime: its configuration, its process, what it holds."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from benchmarks.child import bound
from benchmarks.daemon import free_port
from benchmarks.peers import dcmtk
from benchmarks.record import BenchFailed

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancPython.so")
SCRIPT = Path(__file__).with_name("orthanc_plugin.py")
FASTEST = {"MaximumPduLength": 131_072, "StoreMD5ForAttachments": False, "SyncStorageArea": False}
"""The fastest settings found: PDUs as the other receivers take them, no MD5 of each file, no fsync."""

_INSTALL = "install it: apt-get install orthanc"
_START_SECONDS = 30.0
_HTTP_SECONDS = 60.0


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc: DICOM on `dicom_port`, its REST API on `http_port`, both on this machine alone."""

    dicom_port: int
    http_port: int
    log: Path

    def stored(self) -> tuple[int, int]:
        """How many instances it holds, and how many bytes of them are in its storage area."""
        statistics = json.loads(self._ask("/statistics"))
        return int(statistics["CountInstances"]), int(statistics["TotalDiskSize"])

    def empty(self) -> None:
        """Have it forget all that it holds."""
        for patient in json.loads(self._ask("/patients")):
            self._ask(f"/patients/{patient}", "DELETE")

    def answers(self) -> bool:
        """True when both of its ports are served."""
        try:
            self._ask("/system")
        except requests.RequestException:
            return False
        return dcmtk.is_open(self.dicom_port)

    def _ask(self, path: str, method: str = "GET") -> bytes:
        answer = requests.request(method, f"http://127.0.0.1:{self.http_port}{path}", timeout=_HTTP_SECONDS)
        answer.raise_for_status()
        return answer.content


def missing(plugin: bool = False) -> str | None:
    """Why there is no Orthanc here, or none with a Python plugin for this interpreter; with what to do."""
    if shutil.which("Orthanc") is None:
        return f"Orthanc is not on PATH; {_INSTALL}{' orthanc-python' if plugin else ''}"
    return plugin_missing(PLUGIN, sys.version_info[:2]) if plugin else None


def plugin_missing(plugin: Path, version: tuple[int, int]) -> str | None:
    """The plugin holds an interpreter of its own, which can load only packages made for its minor version."""
    if not plugin.is_file():
        return f"its Python plugin {plugin} is missing; {_INSTALL} orthanc-python"
    own = f"libpython{version[0]}.{version[1]}.so"
    if own.encode() not in plugin.read_bytes():
        return (
            f"its Python plugin is built for another Python than this environment's {version[0]}.{version[1]}; make "
            "the environment with the system's Python (apt-get install orthanc orthanc-python)"
        )
    return None


def settings(folder: Path, dicom_port: int, http_port: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration: local, without a login; all else is Orthanc's default (SyncStorageArea true, SQLite index)."""
    return {
        "Name": "peer", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
        "DicomAet": "EDGE", "DicomPort": dicom_port, "HttpPort": http_port, "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True, "StorageCompression": False, "Plugins": [],
        **extra,
    }  # fmt: skip


@contextlib.contextmanager
def receiver(
    folder: Path, *, no_delay: bool, extra: Mapping[str, Any] | None = None, python_path: Sequence[str] = ()
) -> Iterator[Orthanc]:
    """Orthanc with its storage in `folder`; `no_delay`: TCP_NODELAY=1, which DCMTK's sockets in it obey.

    Raises:
        BenchFailed: it does not answer in time.
    """
    folder.mkdir(parents=True)
    ports = free_port(), free_port()
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(settings(folder, *ports, extra or {}), indent=1))
    running = Orthanc(*ports, folder / "orthanc.log")
    environment = {**dcmtk.environment(no_delay), "PYTHONPATH": os.pathsep.join(python_path)}
    with running.log.open("wb") as log:
        process = subprocess.Popen(bound(["Orthanc", str(configuration)]), stdout=log, stderr=log, env=environment)
    try:
        _wait_until_it_answers(running, process)
        yield running
    finally:
        process.kill()  # an orderly end takes seconds, and its data is of no further use
        process.wait()


@contextlib.contextmanager
def with_plugin(folder: Path, networks: Sequence[Path], quiet_seconds: int, destination: str) -> Iterator[Orthanc]:
    """Orthanc that analyses a series that was stable for `quiet_seconds`, by `orthanc_plugin.py`."""
    extra = {
        **FASTEST, "StableAge": quiet_seconds, "Plugins": [str(PLUGIN)], "PythonScript": str(SCRIPT),
        "DayAnalysis": {"Engines": [str(network) for network in networks], "Destination": destination},
    }  # fmt: skip
    packages = [str(Path(__file__).parents[2]), sysconfig.get_path("purelib")]
    with receiver(folder, no_delay=True, extra=extra, python_path=packages) as running:
        yield running


def _wait_until_it_answers(running: Orthanc, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        if running.answers():
            return
        time.sleep(0.05)
    said = running.log.read_text(errors="replace")[-1000:]
    raise BenchFailed(f"Orthanc does not answer on ports {running.dicom_port} and {running.http_port}: {said}")
