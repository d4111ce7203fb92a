"""A DICOM association as requestor, on one blocking socket: every wait has a deadline, and a file goes as it is.

pynetdicom encodes and decodes the negotiation. Its own association is not used: it sends without a timeout, so that a
peer which stops reading holds it for ever, and it queues the whole object in memory.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RQ, A_RELEASE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context

from edge_runtime.deliver.base import MINIMUM_BYTES_PER_SECOND, Delivery, Outcome, Reason, SendFailed
from edge_runtime.deliver.dimse import C_ECHO_RSP, C_STORE_RSP, VERIFICATION_CLASS, c_echo_request, c_store_request
from edge_runtime.deliver.part10 import Part10
from edge_runtime.deliver.policy import delivery_of_rejection

Context = tuple[str, str]  # SOP class UID, transfer syntax UID

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_OUR_MAXIMUM_PDU_BYTES = 16_384
_LARGEST_PDU_SENT_BYTES = 131_072
_SMALLEST_PDU_BYTES = 128
_LARGEST_PDU_READ_BYTES = 1 << 20
_LARGEST_COMMAND_BYTES = 1 << 16
_MAXIMUM_CONTEXTS = 128
_ASSOCIATE_AC, _ASSOCIATE_RJ, _P_DATA, _RELEASE_RP, _ABORT = 0x02, 0x03, 0x04, 0x06, 0x07
_COMMAND, _LAST = 0x01, 0x02  # bits of a PDV's message control header (PS3.8 E.2)

VERIFICATION: Context = (VERIFICATION_CLASS, "1.2.840.10008.1.2")
"""What `Association.echo` needs: implicit VR little endian, which every peer knows."""


class Association:
    """An established association. Not for use by two threads, but for `interrupt`."""

    def __init__(
        self, connection: socket.socket, accepted: dict[Context, int], maximum_pdu_bytes: int, timeout_seconds: float
    ) -> None:
        self._connection = connection
        self._accepted = accepted
        limit = maximum_pdu_bytes or _LARGEST_PDU_SENT_BYTES  # 0: unlimited (PS3.8 D.1)
        self._fragment_bytes = (min(limit, _LARGEST_PDU_SENT_BYTES) - 6) & ~1
        self._timeout_seconds = timeout_seconds
        self._message_id = 0

    def accepts(self, context: Context) -> bool:
        """Whether the peer takes that SOP class in that transfer syntax."""
        return context in self._accepted

    def store(self, part10: Part10) -> int:
        """Send one object by C-STORE (PS3.7 9.3.1) and return the status of the response.

        Raises:
            SendFailed: no answer in time, or the association broke; it is of no use any more.
        """
        self._message_id = self._message_id % 0xFFFF + 1
        context_id = self._accepted[part10.context]
        deadline = time.monotonic() + self._timeout_seconds + part10.size_bytes / MINIMUM_BYTES_PER_SECOND
        with _as_failure():
            command = c_store_request(self._message_id, part10.sop_class_uid, part10.sop_instance_uid)
            for pdu in _fragments(command, context_id, self._fragment_bytes):
                self._send(pdu, deadline)
            for pdu in _file_fragments(part10.file, part10.data_offset, context_id, self._fragment_bytes):
                self._send(pdu, deadline)
            response = self._read_command(time.monotonic() + self._timeout_seconds)
        return _status_of(response, C_STORE_RSP, self._message_id)

    def echo(self) -> int:
        """Ask by C-ECHO (PS3.7 9.3.5) whether the peer hears, and return the status of the response.

        Raises:
            SendFailed: no answer in time, or the association broke; it is of no use any more.
        """
        self._message_id = self._message_id % 0xFFFF + 1
        with _as_failure():
            command = c_echo_request(self._message_id)
            for pdu in _fragments(command, self._accepted[VERIFICATION], self._fragment_bytes):
                self._send(pdu, time.monotonic() + self._timeout_seconds)
            response = self._read_command(time.monotonic() + self._timeout_seconds)
        return _status_of(response, C_ECHO_RSP, self._message_id)

    def release(self) -> None:
        """End the association in order; what was answered stays answered, so a failure here is none."""
        deadline = time.monotonic() + self._timeout_seconds
        with contextlib.suppress(OSError, SendFailed):
            self._send(A_RELEASE_RQ().encode(), deadline)
            while _read_pdu(self._connection, deadline, self._timeout_seconds)[0] not in (_RELEASE_RP, _ABORT):
                pass
        self._connection.close()

    def abort(self) -> None:
        """End the association at once."""
        pdu = A_ABORT_RQ()
        pdu.source, pdu.reason_diagnostic = 0, 0
        with contextlib.suppress(OSError):
            self._connection.settimeout(min(1.0, self._timeout_seconds))
            self._connection.send(pdu.encode())
        self._connection.close()

    def interrupt(self) -> None:
        """From another thread: make the call under way fail at once."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._connection.settimeout(_left(deadline, self._timeout_seconds))
            view = view[self._connection.send(view) :]

    def _read_command(self, deadline: float) -> bytes:
        command = b""
        while len(command) <= _LARGEST_COMMAND_BYTES:
            kind, body = _read_pdu(self._connection, deadline, self._timeout_seconds)
            if kind != _P_DATA:
                raise _aborted(f"PDU 0x{kind:02X} instead of a response")
            for header, fragment in _values(body):
                if not header & _COMMAND:
                    raise _aborted("a data set instead of a response")
                command += fragment
                if header & _LAST:
                    return command
        raise _aborted("the response is too long")


def associate(
    host: str, port: int, called: str, calling: str, contexts: Sequence[Context], timeout_seconds: float
) -> Association:
    """Connect and negotiate (PS3.8 9.3.2): one presentation context for each of `contexts`.

    Raises:
        SendFailed: the peer is away, does not answer or rejects; `delivery.away` is true.
    """
    connection = connect(host, port, timeout_seconds)
    try:
        request, numbered = _request(called, calling, contexts)
        deadline = time.monotonic() + timeout_seconds
        with _as_failure():
            connection.settimeout(timeout_seconds)
            connection.sendall(request)
            kind, body = _read_pdu(connection, deadline, timeout_seconds)
        if kind == _ASSOCIATE_RJ and len(body) >= 4:
            raise SendFailed(delivery_of_rejection(body[1], body[2], body[3]))
        if kind != _ASSOCIATE_AC:
            raise _aborted(f"PDU 0x{kind:02X} instead of an association")
        return _accepted(connection, body, numbered, timeout_seconds)
    except SendFailed as failure:
        connection.close()
        raise SendFailed(replace(failure.delivery, away=True)) from failure


def connect(host: str, port: int, timeout_seconds: float) -> socket.socket:
    """Connect to the first address that answers; `timeout_seconds` is for all of them together.

    Raises:
        SendFailed: none does; its `__cause__` is the last failure.
    """
    failure: Exception = OSError("no address")
    deadline = time.monotonic() + timeout_seconds
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                connection.connect(address)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that cannot be one
        failure = error
    detail = f"cannot connect: {getattr(failure, 'strerror', None) or type(failure).__name__}"
    raise SendFailed(Delivery(Outcome.DEFERRED, Reason.AWAY, detail, away=True)) from failure


def _request(called: str, calling: str, contexts: Sequence[Context]) -> tuple[bytes, dict[int, Context]]:
    numbered = {2 * n + 1: context for n, context in enumerate(dict.fromkeys(contexts)) if n < _MAXIMUM_CONTEXTS}
    primitive = A_ASSOCIATE()
    primitive.application_context_name = _APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    maximum, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    maximum.maximum_length_received = _OUR_MAXIMUM_PDU_BYTES
    implementation.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    primitive.user_information = [maximum, implementation]
    proposed = []
    for number, (sop_class, syntax) in numbered.items():
        context = build_context(sop_class, syntax)
        context.context_id = number
        proposed.append(context)
    primitive.presentation_context_definition_list = proposed
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode()), numbered


def _accepted(
    connection: socket.socket, body: bytes, numbered: dict[int, Context], timeout_seconds: float
) -> Association:
    try:
        pdu = A_ASSOCIATE_AC()
        pdu.decode(struct.pack(">BBL", _ASSOCIATE_AC, 0, len(body)) + body)
        answer = pdu.to_primitive()
        results = answer.presentation_context_definition_results_list
        if not results:
            raise ValueError("no presentation context is answered")
        taken = {
            numbered[context.context_id]: int(context.context_id)
            for context in results
            if context.result == 0 and context.transfer_syntax == [numbered[context.context_id][1]]
        }
        maximum = int(answer.maximum_length_received or 0)
    except Exception as error:  # pynetdicom's codecs raise many kinds for a broken PDU
        raise _aborted(f"the acceptance cannot be read: {type(error).__name__}") from error
    if 0 < maximum < _SMALLEST_PDU_BYTES:
        raise _aborted(f"a maximum PDU length of {maximum} bytes")
    return Association(connection, taken, maximum, timeout_seconds)


@contextlib.contextmanager
def _as_failure() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise SendFailed(Delivery(Outcome.DEFERRED, Reason.TIMEOUT, "no answer in time")) from error
    except OSError as error:
        raise _aborted(f"the connection broke: {error.strerror or type(error).__name__}") from error


def _aborted(detail: str) -> SendFailed:
    return SendFailed(Delivery(Outcome.DEFERRED, Reason.ABORTED, detail))


def _left(deadline: float, at_most_seconds: float) -> float:
    left = min(deadline - time.monotonic(), at_most_seconds)
    if left <= 0:
        raise TimeoutError
    return left


def _read_exactly(connection: socket.socket, length: int, deadline: float, at_most_seconds: float) -> bytes:
    data = bytearray()
    while len(data) < length:
        connection.settimeout(_left(deadline, at_most_seconds))
        block = connection.recv(length - len(data))
        if not block:
            raise ConnectionResetError("closed by the peer")
        data += block
    return bytes(data)


def _read_pdu(connection: socket.socket, deadline: float, at_most_seconds: float) -> tuple[int, bytes]:
    kind, _, length = struct.unpack(">BBL", _read_exactly(connection, 6, deadline, at_most_seconds))
    if length > _LARGEST_PDU_READ_BYTES:
        raise _aborted(f"a PDU of {length} bytes")
    return kind, _read_exactly(connection, length, deadline, at_most_seconds)


def _values(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The presentation data values of a P-DATA-TF (PS3.8 9.3.5): message control header and fragment."""
    while body:
        if len(body) < 6 or not 2 <= (length := int.from_bytes(body[:4], "big")) <= len(body) - 4:
            raise _aborted("a broken P-DATA PDU")
        yield body[5], body[6 : 4 + length]
        body = body[4 + length :]


def _pdu(context_id: int, header: int, fragment: bytes) -> bytes:
    size = len(fragment)
    return struct.pack(">BBLLBB", _P_DATA, 0, size + 6, size + 2, context_id, header) + fragment


def _fragments(command: bytes, context_id: int, fragment_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(command), fragment_bytes):
        last = _LAST if start + fragment_bytes >= len(command) else 0
        yield _pdu(context_id, _COMMAND | last, command[start : start + fragment_bytes])


def _file_fragments(file: BinaryIO, offset: int, context_id: int, fragment_bytes: int) -> Iterator[bytes]:
    file.seek(offset)
    fragment = file.read(fragment_bytes)
    while fragment:
        following = file.read(fragment_bytes)
        yield _pdu(context_id, 0 if following else _LAST, fragment)
        fragment = following


def _status_of(response: bytes, expected: int, message_id: int) -> int:
    found: dict[int, int] = {}
    while response:
        if len(response) < 8:
            raise _aborted("a broken response")
        group, number, length = struct.unpack("<HHL", response[:8])
        if group == 0 and length == 2 and len(response) >= 10:
            found[number] = int.from_bytes(response[8:10], "little")
        response = response[8 + length :]
    if found.get(0x0100) != expected or found.get(0x0120) != message_id or 0x0900 not in found:
        raise _aborted("the response is to something else")
    return found[0x0900]
