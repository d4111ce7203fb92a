"""DICOM peers for tests: a server in this process or its own, a client that can misbehave, small data sets."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge_runtime.config import DicomReceive
from edge_runtime.receive.server import DicomServer
from edge_runtime.spool.instances import InstanceStore
from edge_runtime.spool.receipt import Arrival, Receipt

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
UID = "1.2.826.0.1.3680043.9.1"
ROOT = Path(__file__).resolve().parents[2]


class RecordingMetrics:
    """Keeps what was counted, by name and label values."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.values: dict[tuple[str, ...], float] = {}
        self.observed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        with self._lock:
            self.counts[(name, *labels.values())] += amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        with self._lock:
            self.observed[name] += 1

    def set(self, name: str, value: float, **labels: str) -> None:
        with self._lock:
            self.values[(name, *labels.values())] = value

    def ended(self, reason: str) -> float:
        return self.counts[("edge_receive_connections_ended_total", reason)]

    def rejected(self, reason: str) -> float:
        return self.counts[("edge_receive_associations_rejected_total", reason)]

    def results(self, result: str) -> float:
        return self.counts[("edge_receive_instances_total", result)]


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait for a condition that another thread or process brings about; returns its last value."""
    give_up_at = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    return value


class Serving:
    """A running server of this process, with what it stored and counted."""

    def __init__(
        self,
        root: Path,
        reserve_bytes: int = 0,
        sync: Callable[[int], None] = os.fsync,
        on_stored: Callable[[Receipt], None] | None = None,
        **config: Any,
    ) -> None:
        self.store = InstanceStore(root, reserve_bytes, sync)
        self.metrics = RecordingMetrics()
        self.receipts: list[Receipt] = []
        self.config = DicomReceive(**{"host": "127.0.0.1", "port": 0, **config})
        self.server = DicomServer(self.config, self.store, on_stored or self.receipts.append, self.metrics)

    @property
    def port(self) -> int:
        return self.server.port

    def files(self) -> list[Path]:
        return sorted((self.store.path("0" * 30).parents[1]).rglob("*.dcm"))


@contextlib.contextmanager
def serving(root: Path, drain_seconds: float = 0.5, **kwargs: Any) -> Iterator[Serving]:
    served = Serving(root, **kwargs)
    served.server.start()
    try:
        yield served
    finally:
        served.server.stop(drain_seconds)


class ServerProcess:
    """`support.receive_server` in a process that a test may kill."""

    def __init__(self, root: Path, *arguments: str, **config: Any) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        command = [sys.executable, "-m", "support.receive_server", str(root), "--config", json.dumps(config)]
        self.process = subprocess.Popen(
            [*command, *arguments], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.hello = json.loads(self.process.stdout.readline())
        self.port: int = self.hello["port"]

    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        self.process.kill()
        self._close()

    def stop(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self._close()

    def _close(self) -> int:
        code = self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        return code

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def associate_request(
    contexts: list[tuple[int, str, list[str]]],
    calling: str = "CT01",
    called: str = "EDGE",
    maximum: int = 16384,
    version: int = 1,
    application: str = "1.2.840.10008.3.1.1.1",
    extra_user_items: bytes = b"",
) -> bytes:
    body = struct.pack(">HH", version, 0) + called.encode().ljust(16) + calling.encode().ljust(16) + bytes(32)
    body += item(0x10, application.encode())
    for number, abstract, syntaxes in contexts:
        offer = item(0x30, abstract.encode()) + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
        body += item(0x20, bytes((number, 0, 0, 0)) + offer)
    user = item(0x51, maximum.to_bytes(4, "big")) + item(0x52, b"1.2.3") + extra_user_items
    return pdu(1, body + item(0x50, user))


def element(number: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHI", group, number, len(value)) + value


def even(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def command_set(
    field: int, message_id: int = 1, sop_class: str = CT, sop_instance: str = UID, data: bool = True
) -> bytes:
    parts = [
        element(0x0002, even(sop_class)),
        element(0x0100, struct.pack("<H", field)),
        element(0x0110, struct.pack("<H", message_id)),
        element(0x0700, struct.pack("<H", 0)),
        element(0x0800, struct.pack("<H", 1 if data else 0x0101)),
        element(0x1000, even(sop_instance)),
    ]
    body = b"".join(parts)
    return element(0, struct.pack("<I", len(body))) + body


def explicit(group: int, number: int, vr: str, value: bytes) -> bytes:
    if vr in ("OB", "OW", "SQ", "UN"):
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value


def data_set(sop_class: str = CT, sop_instance: str = UID, pixel_bytes: int = 2000) -> bytes:
    """An explicit little endian data set with an identity and `pixel_bytes` of pixels."""
    return (
        explicit(0x0008, 0x0005, "CS", b"ISO_IR 100")
        + explicit(0x0008, 0x0016, "UI", even(sop_class))
        + explicit(0x0008, 0x0018, "UI", even(sop_instance))
        + explicit(0x0008, 0x0060, "CS", b"CT")
        + explicit(0x7FE0, 0x0010, "OW", bytes(range(256)) * (pixel_bytes // 256) + bytes(pixel_bytes % 256))
    )


def fragment(context_id: int, control: int, data: bytes) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context_id, control) + data


def p_data(context_id: int, control: int, data: bytes) -> bytes:
    return pdu(4, fragment(context_id, control, data))


class RawPeer:
    """A client that sends what it is told to. Context 1 is CT, 3 is MR, 5 is Verification; explicit little endian."""

    CONTEXTS = ((1, CT), (3, MR), (5, VERIFICATION))

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def associate(self, **kwargs: Any) -> RawPeer:
        contexts = [(number, abstract, [EXPLICIT_LE]) for number, abstract in self.CONTEXTS]
        self.send(associate_request(contexts, **kwargs))
        kind, _ = self.read_pdu()
        assert kind == 2, f"expected an A-ASSOCIATE-AC, got PDU type {kind}"
        return self

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_store(self, sop_class: str = CT, sop_instance: str = UID, context_id: int = 1) -> None:
        self.send(p_data(context_id, 3, command_set(1, 1, sop_class, sop_instance)))

    def send_data(self, data: bytes, context_id: int = 1, last: bool = True, size: int = 16_000) -> None:
        for start in range(0, len(data), size):
            end = last and start + size >= len(data)
            self.send(p_data(context_id, 2 if end else 0, data[start : start + size]))

    def store(self, data: bytes, sop_class: str = CT, sop_instance: str = UID, context_id: int = 1) -> int:
        self.send_store(sop_class, sop_instance, context_id)
        self.send_data(data, context_id)
        return self.status()

    def echo(self) -> int:
        self.send(p_data(5, 3, command_set(0x30, 7, VERIFICATION, "", data=False)))
        return self.status()

    def status(self) -> int:
        kind, body = self.read_pdu()
        assert kind == 4, f"expected a P-DATA-TF, got PDU type {kind}"
        return self.elements(body[6:])[0x0900]

    @staticmethod
    def elements(command: bytes) -> dict[int, Any]:
        found: dict[int, Any] = {}
        position = 0
        while position < len(command):
            _, number, length = struct.unpack_from("<HHI", command, position)
            value = command[position + 8 : position + 8 + length]
            found[number] = int.from_bytes(value, "little") if length in (2, 4) else value
            position += 8 + length
        return found

    def release(self) -> None:
        self.send(pdu(5, bytes(4)))
        assert self.read_pdu()[0] == 6

    def read_pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self.read(6))
        return kind, self.read(length)

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError("the server closed")
            data += part
        return data

    def closed_within(self, seconds: float) -> bool:
        """True when the server closes, whatever it says before."""
        give_up_at = time.monotonic() + seconds
        while (left := give_up_at - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                try:
                    if not self.socket.recv(65536):
                        return True
                except ConnectionError:
                    return True
        return False


def normal_peer_is_served(port: int, sop_instance: str = UID) -> bool:
    """A polite association of one echo and one store, both of which succeed."""
    with RawPeer(port).associate(calling="POLITE") as peer:
        done = peer.echo() == 0 and peer.store(data_set(sop_instance=sop_instance), sop_instance=sop_instance) == 0
        peer.release()
    return done


def arrival(**changes: Any) -> Arrival:
    values: dict[str, Any] = {
        "sop_class_uid": CT,
        "sop_instance_uid": UID,
        "transfer_syntax_uid": EXPLICIT_LE,
        "caller_ae_title": "CT01",
        "caller_host": "10.1.2.3",
        "called_ae_title": "EDGE",
        "received_at": 1_790_000_000.25,
    }
    return Arrival(**{**values, **changes})
