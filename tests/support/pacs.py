"""Peers that take results: Orthanc, DCMTK's storescp, and stubs that behave as told."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.sop_class import Verification
from support.parcels import SOP_CLASSES

AE_TITLE = "PACS"


# -- processes ------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.02)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc: DICOM on `dicom_port`, DICOMweb on `url`."""

    dicom_port: int
    http_port: int
    ae_title: str = "ORTHANC"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def instances(self) -> list[str]:
        """The SOP Instance UIDs that it holds."""
        found = json.loads(self.get("/instances?expand"))
        return [str(item["MainDicomTags"]["SOPInstanceUID"]) for item in found]

    def file(self, sop_instance_uid: str) -> bytes:
        """The Part 10 file that it holds."""
        found = json.loads(self.get("/instances?expand"))
        match = [i["ID"] for i in found if i["MainDicomTags"]["SOPInstanceUID"] == sop_instance_uid]
        return self.get(f"/instances/{match[0]}/file")


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start Orthanc with its data in `folder`; stop it at the end."""
    peer = Orthanc(free_port(), free_port())
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "DicomAet": peer.ae_title,
        "DicomPort": peer.dicom_port,
        "HttpPort": peer.http_port,
        "DicomAlwaysAllowStore": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            wait_until(lambda: is_open(peer.http_port) and is_open(peer.dicom_port), 30)
            yield peer
        finally:
            process.kill()  # an orderly end takes it seconds, and its data is of no further use
            process.wait()


@contextlib.contextmanager
def storescp(folder: Path, *options: str, port: int = 0) -> Iterator[int]:
    """Start DCMTK's storescp, which keeps what it receives bit by bit in `folder`; gives its port."""
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = ["storescp", "--bit-preserving", "--accept-all", *options, "-od", str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_open(port))
        yield port
    finally:
        _stop(process)


# -- stubs with a behaviour -----------------------------------------------------------------------------------------


@dataclass
class StubPacs:
    """A PACS on pynetdicom that does as told. `statuses` are answered in turn, the last one for ever."""

    statuses: Sequence[int] = (0x0000,)
    refused_classes: Sequence[str] = ()
    silent_seconds: float = 0.0  # before each answer
    maximum_pdu_bytes: int = 16_382
    port: int = 0
    received: list[tuple[str, bytes]] = field(default_factory=list)  # SOP instance, encoded data set
    associations: int = 0
    contexts: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[StubPacs]:
        ae = AE(AE_TITLE)
        ae.maximum_pdu_size = self.maximum_pdu_bytes
        ae.network_timeout = ae.acse_timeout = 5
        ae.add_supported_context(Verification)
        for sop_class in {*SOP_CLASSES.values(), Comprehensive3DSRStorage}:
            if sop_class not in self.refused_classes:
                ae.add_supported_context(sop_class, ExplicitVRLittleEndian)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_REQUESTED, self._requested)]
        server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self.port = server.socket.getsockname()[1]
        try:
            yield self
        finally:
            ae.shutdown()

    def _requested(self, event: evt.Event) -> None:
        self.associations += 1
        proposed = event.assoc.requestor.primitive.presentation_context_definition_list
        self.contexts += [(str(c.abstract_syntax), tuple(map(str, c.transfer_syntax))) for c in proposed]

    def _store(self, event: evt.Event) -> int:
        self.received.append((str(event.request.AffectedSOPInstanceUID), event.request.DataSet.getvalue()))
        time.sleep(self.silent_seconds)
        return self.statuses[min(len(self.received), len(self.statuses)) - 1]


def accept_association(connection: socket.socket) -> None:
    """Answer an A-ASSOCIATE-RQ on a raw socket by accepting all that it proposes."""
    pdu = A_ASSOCIATE_RQ()
    pdu.decode(read_pdu(connection))
    primitive = pdu.to_primitive()
    for context in primitive.presentation_context_definition_list:
        context.result = 0
    primitive.presentation_context_definition_results_list = primitive.presentation_context_definition_list
    primitive.presentation_context_definition_list = []
    primitive.result, primitive.result_source = 0, 1
    answer = A_ASSOCIATE_AC()
    answer.from_primitive(primitive)
    connection.sendall(answer.encode())


def read_pdu(connection: socket.socket) -> bytes:
    pdu = b""
    while len(pdu) < 6 or len(pdu) < 6 + int.from_bytes(pdu[2:6], "big"):
        wanted = 6 - len(pdu) if len(pdu) < 6 else 6 + int.from_bytes(pdu[2:6], "big") - len(pdu)
        block = connection.recv(wanted)
        if not block:
            raise ConnectionResetError
        pdu += block
    return pdu


def read_c_store(connection: socket.socket) -> tuple[int, bytes]:
    """Read one C-STORE request on a raw socket: the context's ID and the encoded data set."""
    data = b""
    while True:
        pdu = read_pdu(connection)
        if pdu[0] != 4:
            raise ConnectionResetError
        header = pdu[11]
        data += b"" if header & 1 else pdu[12:]
        if header == 2:  # the last fragment of the data set
            return pdu[10], data


def p_data(fragment: bytes, context_id: int = 1, header: int = 3) -> bytes:
    """A P-DATA-TF PDU with one fragment (PS3.8 9.3.5); header 3 is a whole command."""
    size = len(fragment)
    return struct.pack(">BBLLBB", 4, 0, size + 6, size + 2, context_id, header) + fragment


def c_store_response(status: int = 0, message_id: int = 1, field: int = 0x8001) -> bytes:
    """The command set of a C-STORE-RSP."""
    values = [(0x0100, field), (0x0120, message_id), (0x0800, 0x0101), (0x0900, status)]
    return b"".join(struct.pack("<HHLH", 0, number, 2, value) for number, value in values)


def abort_pdu() -> bytes:
    return struct.pack(">BBLBBBB", 7, 0, 4, 0, 0, 0, 0)


def reject_pdu(result: int, source: int, reason: int) -> bytes:
    return struct.pack(">BBLBBBB", 3, 0, 4, 0, result, source, reason)


@contextlib.contextmanager
def raw_server(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A TCP server that runs `behave(connection, over)` for each connection, in a thread; gives its port."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            behave(connection, over)

    def accept(listener: socket.socket) -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=talk, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        acceptor = threading.Thread(target=accept, args=(listener,))
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            for thread in [acceptor, *threads]:
                thread.join()


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Let an HTTP server answer, in a thread; close it at the end."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port that neither accepts nor refuses a connection: SYNs get no answer."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


def store_response(uid: str, failure: int | None = None, warning: int | None = None) -> dict[str, object]:
    """A Store Instances Response for one object. As Orthanc does, it always holds a Failed SOP Sequence."""
    item: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if failure is not None:
        item["00081197"] = {"vr": "US", "Value": [failure]}
        return {"00081198": {"vr": "SQ", "Value": [item]}}
    if warning is not None:
        item["00081196"] = {"vr": "US", "Value": [warning]}
    return {"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ", "Value": [item]}}


def stored(uid: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/dicom+json"}, json.dumps(store_response(uid)).encode()


@dataclass
class StubWeb:
    """A STOW-RS service that answers as told. `answer` makes (status, headers, body) from the object's UID."""

    answer: Callable[[str], tuple[int, dict[str, str], bytes]] = stored
    port: int = 0
    received: list[bytes] = field(default_factory=list)  # Part 10 files
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    @contextlib.contextmanager
    def running(self) -> Iterator[StubWeb]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                stub.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                part10 = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
                stub.headers.append(dict(self.headers.items()))
                stub.received.append(part10)
                status, headers, answer = stub.answer(uid_of(part10))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_request(self, code: object = "-", size: object = "-") -> None:
                """Stay quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = server.server_address[1]
        with serving(server):
            yield self


def uid_of(part10: bytes) -> str:
    return str(dcmread(io.BytesIO(part10), specific_tags=["SOPInstanceUID"]).file_meta.MediaStorageSOPInstanceUID)
