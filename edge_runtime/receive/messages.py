"""From PDUs to DIMSE messages (PS3.8 annex E). Every length is checked before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from edge_runtime.receive.command import COMMAND_LIMIT_BYTES, Command, decode_command
from edge_runtime.receive.pdu import (
    ASSOCIATE_LIMIT_BYTES,
    HEADER_BYTES,
    AbortReason,
    AssociateRequest,
    PduType,
    ProtocolError,
    decode_associate_request,
    decode_header,
)
from edge_runtime.receive.wire import ConnectionEnded, Wire

_FRAGMENT_HEADER_BYTES = 6
_CONTROL_PDU_BYTES = 4


class PeerAborted(ConnectionEnded):
    """The peer sent an A-ABORT."""

    def __init__(self) -> None:
        super().__init__("peer_aborted")


class Release(Enum):
    """The peer asks to release the association."""

    REQUESTED = True


class MessageReader:
    """Reads one message after the other from a wire. No length from the peer is trusted or allocated unchecked."""

    def __init__(self, wire: Wire, maximum_pdu_bytes: int, maximum_object_bytes: int) -> None:
        self._wire = wire
        self._maximum_pdu_bytes = maximum_pdu_bytes
        self._maximum_object_bytes = maximum_object_bytes
        self._pdu_left = 0

    def associate_request(self) -> AssociateRequest:
        """The A-ASSOCIATE-RQ that opens a connection.

        Raises:
            ProtocolError: something else came.
            ConnectionEnded: nothing came.
        """
        self._wire.start_message()
        kind, length = decode_header(self._wire.take(HEADER_BYTES))
        if kind != PduType.ASSOCIATE_RQ:
            known = kind in PduType.__members__.values()
            raise ProtocolError(
                "not_dicom",
                "the connection does not open with an A-ASSOCIATE-RQ",
                AbortReason.UNEXPECTED_PDU if known else AbortReason.UNRECOGNIZED_PDU,
            )
        if length > ASSOCIATE_LIMIT_BYTES:
            raise ProtocolError("pdu_length", f"an A-ASSOCIATE-RQ of more than {ASSOCIATE_LIMIT_BYTES} bytes")
        return decode_associate_request(self._wire.take(length))

    def command(self) -> tuple[int, Command] | Release:
        """The next message's presentation context id and command, or the request to release.

        Raises:
            ProtocolError: the peer broke the protocol.
            ConnectionEnded: the peer aborted, closed or was too slow.
        """
        self._wire.start_message()
        if self._pdu_left == 0 and self._next_pdu(release_allowed=True):
            return Release.REQUESTED
        context_id, parts, size = 0, list[bytes](), 0
        while True:
            number, control, length = self._fragment()
            if not control & 1:
                raise ProtocolError("data_before_command", "a data set fragment where a command is due")
            if parts and number != context_id:
                raise ProtocolError("mixed_contexts", "a message changes its presentation context")
            size += length + _FRAGMENT_HEADER_BYTES
            if size > COMMAND_LIMIT_BYTES:
                raise ProtocolError("malformed_command", f"a command set of more than {COMMAND_LIMIT_BYTES} bytes")
            context_id = number
            parts.append(self._wire.take(length))
            if control & 2:
                return context_id, decode_command(b"".join(parts))

    def data_set(self, context_id: int) -> Iterator[memoryview]:
        """The bytes of the message's data set, in pieces that are valid until the next one is asked for.

        Raises:
            ProtocolError: the peer broke the protocol, or sends more than the largest object.
            ConnectionEnded: the peer aborted, closed or was too slow.
        """
        size, last = 0, False
        while not last:
            number, control, length = self._fragment()
            if control & 1:
                raise ProtocolError("command_in_data_set", "a command fragment before the data set's last one")
            if number != context_id:
                raise ProtocolError("mixed_contexts", "a message changes its presentation context")
            last = bool(control & 2)
            size += length + _FRAGMENT_HEADER_BYTES
            if size > self._maximum_object_bytes:
                raise ProtocolError("object_too_large", f"an object of more than {self._maximum_object_bytes} bytes",
                                    AbortReason.NOT_SPECIFIED)  # fmt: skip
            while length:
                chunk = self._wire.chunk(length)
                length -= len(chunk)
                yield chunk

    def _fragment(self) -> tuple[int, int, int]:
        """Context id, message control header and length of the next fragment (PS3.8 section 9.3.5.1)."""
        if self._pdu_left == 0:
            self._next_pdu(release_allowed=False)
        if self._pdu_left < _FRAGMENT_HEADER_BYTES:
            raise ProtocolError("malformed_data", "a P-DATA-TF ends within a fragment's header")
        header = self._wire.take(_FRAGMENT_HEADER_BYTES)
        length = int.from_bytes(header[:4], "big")
        if not 2 <= length <= self._pdu_left - 4:
            raise ProtocolError("malformed_data", "a fragment is longer than its P-DATA-TF")
        self._pdu_left -= length + 4
        return header[4], header[5], length - 2

    def _next_pdu(self, *, release_allowed: bool) -> bool:
        """Step into the next P-DATA-TF; True when the peer asked to release instead."""
        kind, length = decode_header(self._wire.take(HEADER_BYTES))
        if kind == PduType.P_DATA_TF:
            if length > self._maximum_pdu_bytes:
                raise ProtocolError("pdu_length", "a P-DATA-TF is longer than negotiated")
            self._pdu_left = length
            return False
        if kind == PduType.ABORT:
            raise PeerAborted
        if kind == PduType.RELEASE_RQ and release_allowed and length == _CONTROL_PDU_BYTES:
            self._wire.take(length)
            return True
        if kind in PduType.__members__.values():
            raise ProtocolError("unexpected_pdu", "a PDU that is out of place", AbortReason.UNEXPECTED_PDU)
        raise ProtocolError("unknown_pdu", "a PDU of unknown type", AbortReason.UNRECOGNIZED_PDU)
