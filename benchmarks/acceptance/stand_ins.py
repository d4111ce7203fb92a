"""Destinations of this computer that stand in for those of the hospital, and when each result was whole there."""

from __future__ import annotations

import io
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from benchmarks.acceptance.replaced import LEFT_OUT, Place
from edge_runtime.config import Config, Destination

_STORED = 0x0000
_JSON_TYPE = "application/dicom+json"


@dataclass(frozen=True)
class Arrived:
    """A result that was whole at a destination. `at`: Unix seconds. `study_uid`: its own; "" of an event."""

    destination: str
    at: float
    study_uid: str


class StandIns:
    """One for each destination that can have one; a context manager that ends them."""

    def __init__(self, config: Config, work: Path) -> None:
        self.places: dict[str, Place] = {}
        self._config = config
        self._work = work
        self._arrived: list[Arrived] = []
        self._stack = ExitStack()

    def __enter__(self) -> StandIns:
        self._work.mkdir()
        try:
            for one in self._config.destinations:
                if one.type not in LEFT_OUT:
                    self.places[one.name] = self._start(one)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, one: Destination) -> Place:
        def arrive(study_uid: str) -> None:
            self._arrived.append(Arrived(one.name, time.time(), study_uid))

        if one.type == "dicom":
            return Place(port=self._stack.enter_context(storage_scp(one.ae_title or "", arrive)))
        if one.type == "dicomweb":
            return Place(port=self._stack.enter_context(http_server(_stow_handler(arrive))))
        folder = self._work / one.name
        folder.mkdir()
        if one.type != "webhook":
            return Place(folder=folder)
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32))
        port = self._stack.enter_context(http_server(_event_handler(lambda: arrive(""))))
        return Place(port=port, secret_file=key)

    def arrived(self) -> list[Arrived]:
        """Every result until now."""
        return list(self._arrived) + [
            Arrived(one.name, path.stat().st_ctime_ns / 1e9, study_of(path))  # ctime: of the rename that made it whole
            for one in self._config.destinations
            if one.type == "folder"
            for path in self._files(one.name)
        ]

    def lines(self, pipeline: str) -> list[dict[str, Any]]:
        """The results of live frames of a pipeline that came as lines of JSON, if it sends any."""
        found = self._config.pipeline(pipeline)
        named = {send.name for send in found.send_to} if found is not None else set()
        for one in self._config.destinations:
            if one.type == "jsonlines" and one.name in named:
                files = [path for path in self._files(one.name) if path.suffix == ".jsonl"]
                return [json.loads(line) for path in files for line in path.read_text().splitlines()]
        return []

    def _files(self, name: str) -> list[Path]:
        folder = self.places[name].folder
        assert folder is not None
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def study_of(path: Path) -> str:
    """The Study Instance UID that a result file names."""
    if path.suffix == ".json":
        return str(json.loads(path.read_text())["study_instance_uid"])
    with path.open("rb") as file:
        return _study(file)


def _study(file: BinaryIO) -> str:
    return str(pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)


@contextmanager
def storage_scp(ae_title: str, arrive: Callable[[str], None]) -> Iterator[int]:
    """A Storage SCP (PS3.4 annex B) that takes every class and keeps nothing; gives its port."""

    def store(event: Any) -> int:
        arrive(str(event.dataset.StudyInstanceUID))
        return _STORED

    ae = AE(ae_title)
    ae.maximum_pdu_size = 131_072
    ae.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield server.socket.getsockname()[1]
    finally:
        ae.shutdown()


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """An HTTP server in threads; gives its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="stand-in", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: what matters is in the result."""


def _stow_handler(arrive: Callable[[str], None]) -> type[BaseHTTPRequestHandler]:
    """Store transaction of DICOMweb (PS3.18 10.5): every instance is confirmed by name."""

    class Stow(_Handler):
        def do_POST(self) -> None:
            stored = []
            for part in parts_of(self.headers.get("Content-Type", ""), self.body()):
                found = pydicom.dcmread(io.BytesIO(part), stop_before_pixels=True)
                arrive(str(found.StudyInstanceUID))
                uids = {"00081150": found.SOPClassUID, "00081155": found.SOPInstanceUID}
                stored.append({tag: {"vr": "UI", "Value": [str(uid)]} for tag, uid in uids.items()})
            document = {"00081199": {"vr": "SQ", "Value": stored}}
            self.answer(200 if stored else 400, _JSON_TYPE, json.dumps(document).encode())

    return Stow


def parts_of(content_type: str, body: bytes) -> Sequence[bytes]:
    """The parts of a multipart body (RFC 2046), without their headers."""
    _, found, rest = content_type.partition("boundary=")
    if not found:
        return []
    boundary = rest.split(";")[0].strip().strip('"').encode()
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]
    return [part.partition(b"\r\n\r\n")[2] for part in parts]


def _event_handler(arrive: Callable[[], None]) -> type[BaseHTTPRequestHandler]:
    class Events(_Handler):
        def do_POST(self) -> None:
            self.body()
            arrive()
            self.answer(200, "text/plain", b"")

    return Events
