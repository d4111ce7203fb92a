"""One connection from its first byte to its last, in one blocking thread: negotiate, answer messages, say good-bye."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime.config import DicomReceive
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.receive.command import Command, CommandField, encode_response
from edge_runtime.receive.doors import Doors
from edge_runtime.receive.messages import MessageReader, Release
from edge_runtime.receive.negotiation import (
    MINIMUM_PEER_PDU_BYTES,
    AcceptedContext,
    Rejection,
    accepted_contexts,
    answer_contexts,
    rejection_of,
)
from edge_runtime.receive.pdu import (
    AbortReason,
    AssociateRequest,
    ProtocolError,
    encode_abort,
    encode_associate_accept,
    encode_associate_reject,
    encode_command,
    encode_release_response,
)
from edge_runtime.receive.prefix import valid_uid
from edge_runtime.receive.statuses import ECHOED, SUCCESS, UNRECOGNIZED_OPERATION, Status, status_of
from edge_runtime.receive.storing import StoreOperation, refusal_of
from edge_runtime.receive.wire import ConnectionEnded, Wire
from edge_runtime.spool.instance_format import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from edge_runtime.spool.instances import InstanceStore
from edge_runtime.spool.receipt import Arrival, Receipt
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.receive")

_LINGER_SECONDS = 1.0
_GONE = ("peer_closed", "peer_aborted", "write_deadline")
_IMPLEMENTATION = (IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME)


@dataclass(frozen=True)
class Surroundings:
    """What all associations of a server share.

    `wake` is a descriptor that becomes readable when the server stops: then no further message begins.
    `expired` says that no message may go on.
    """

    config: DicomReceive
    store: InstanceStore
    on_stored: Callable[[Receipt], None]
    metrics: Metrics
    doors: Doors
    wake: int
    expired: Callable[[], bool]


class Association:
    """Serves one connection. `run` returns when it is closed and never raises."""

    def __init__(self, connection: socket.socket, host: str, around: Surroundings) -> None:
        config = around.config
        self._connection = connection
        self._host = host
        self._around = around
        self._wire = Wire(
            connection, config.read_deadline_seconds, config.minimum_bytes_per_second, around.wake, around.expired
        )
        self._reader = MessageReader(self._wire, config.maximum_pdu_bytes, config.maximum_object_bytes)
        self._request: AssociateRequest | None = None  # once accepted
        self._contexts: dict[int, AcceptedContext] = {}
        self._stored = 0
        self._refused = 0

    def run(self) -> None:
        """Serve the connection until it ends."""
        started = time.monotonic()
        abort: bytes | None = None
        try:
            reason = self._serve()
        except ConnectionEnded as error:
            reason = error.reason
            abort = None if reason in _GONE else encode_abort(AbortReason.NOT_SPECIFIED, by_provider=False)
        except ProtocolError as error:
            reason, abort = error.reason, encode_abort(error.abort)
        except Exception:  # a thread meets the world: the others go on
            log.exception("association failed", extra={"event": {"host": self._host}})
            reason, abort = "internal_error", encode_abort(AbortReason.NOT_SPECIFIED)
        self._conclude(reason, time.monotonic() - started)
        self._say_good_bye(abort, linger=reason not in _GONE)

    def _serve(self) -> str:
        request = self._reader.associate_request()
        rejection = self._admission(request)
        if rejection is not None:
            self._reject(request, rejection)
            return "rejected"
        self._accept(request)
        while self._wire.await_message(self._around.config.idle_seconds):
            message = self._reader.command()
            if isinstance(message, Release):
                self._wire.send(encode_release_response())
                return "released"
            self._answer(*message)
        raise ConnectionEnded("stopping")

    def _admission(self, request: AssociateRequest) -> Rejection | None:
        if 0 < request.maximum_pdu_bytes < MINIMUM_PEER_PDU_BYTES:
            raise ProtocolError("malformed_associate", "the peer takes only PDUs that are too short for any answer")
        return rejection_of(self._around.config, request, self._host) or self._around.doors.admit(
            self._connection, request.calling_ae_title
        )

    def _reject(self, request: AssociateRequest, rejection: Rejection) -> None:
        self._wire.send(encode_associate_reject(rejection.result, rejection.source, rejection.code))
        self._around.metrics.count("edge_receive_associations_rejected_total", reason=rejection.reason)
        event = {
            "host": self._host,
            "calling_ae_title": request.calling_ae_title,
            "called_ae_title": request.called_ae_title,
            "reason": rejection.reason,
        }
        log.warning("association rejected", extra={"event": event})

    def _accept(self, request: AssociateRequest) -> None:
        self._request = request
        metrics, doors = self._around.metrics, self._around.doors
        metrics.count("edge_receive_associations_accepted_total")
        metrics.set("edge_receive_associations_open", doors.associations)
        answers = answer_contexts(request.contexts)
        self._contexts = accepted_contexts(request.contexts, answers)
        self._wire.send(
            encode_associate_accept(request, answers, self._around.config.maximum_pdu_bytes, _IMPLEMENTATION)
        )
        event = {
            "host": self._host,
            "calling_ae_title": request.calling_ae_title,
            "contexts_offered": len(answers),
            "contexts_accepted": len(self._contexts),
        }
        log.info("association accepted", extra={"event": event})

    def _answer(self, context_id: int, command: Command) -> None:
        context = self._contexts.get(context_id)
        if context is None:
            raise ProtocolError("context_not_accepted", "a message on a presentation context that was not accepted",
                                AbortReason.UNEXPECTED_PARAMETER)  # fmt: skip
        if command.field == CommandField.C_STORE_RQ:
            self._store(context_id, context, command)
            return
        if command.has_data_set:
            for _ in self._reader.data_set(context_id):
                pass
        if command.field == CommandField.C_ECHO_RQ:
            self._respond(context_id, command, ECHOED)
            self._around.metrics.count("edge_receive_echoes_total")
        elif command.field != CommandField.C_CANCEL_RQ:  # there is nothing to cancel, and no answer to it
            log.warning("operation refused", extra={"event": {"host": self._host, "operation": command.field}})
            self._respond(context_id, command, UNRECOGNIZED_OPERATION)

    def _store(self, context_id: int, context: AcceptedContext, command: Command) -> None:
        started = time.monotonic()
        refusal = refusal_of(command, context)
        operation = StoreOperation(self._around.store, command, self._arrival(context, command), refusal)
        try:
            if command.has_data_set:
                for chunk in self._reader.data_set(context_id):
                    operation.feed(chunk)
            self._finish(operation, context_id, command)
        finally:
            if operation.abandon():
                self._around.metrics.count("edge_receive_instances_total", result="interrupted")
        self._around.metrics.observe("edge_receive_store_seconds", time.monotonic() - started)

    def _finish(self, operation: StoreOperation, context_id: int, command: Command) -> None:
        """Make the instance durable and answer; the receipt is passed on whether or not the answer gets through."""
        before = time.monotonic()
        try:
            receipt = operation.finish()
        except EdgeRuntimeError as error:
            self._refuse(context_id, command, error)
            return
        metrics = self._around.metrics
        metrics.observe("edge_receive_commit_seconds", time.monotonic() - before)
        try:
            self._respond(context_id, command, SUCCESS)
        finally:
            self._stored += 1
            metrics.count("edge_receive_instances_total", result=SUCCESS.result)
            metrics.count("edge_receive_bytes_total", receipt.size_bytes)
            self._hand_over(receipt)

    def _refuse(self, context_id: int, command: Command, error: EdgeRuntimeError) -> None:
        status = status_of(error)
        self._refused += 1
        self._around.metrics.count("edge_receive_instances_total", result=status.result)
        event = {"host": self._host, "status": f"0x{status.code:04x}", "reason": status.result, "cause": str(error)}
        log.warning("instance refused", extra={"event": event})
        self._respond(context_id, command, status)

    def _hand_over(self, receipt: Receipt) -> None:
        try:
            self._around.on_stored(receipt)
        except Exception:  # the instance is durable: whoever scans the store finds it
            self._around.metrics.count("edge_receive_hand_over_failures_total")
            log.exception("stored instance not handed over", extra={"event": {"instance": receipt.id}})

    def _respond(self, context_id: int, command: Command, status: Status) -> None:
        assert self._request is not None
        uids = (command.sop_class_uid, command.sop_instance_uid)
        sop_class, sop_instance = (uid if valid_uid(uid) else "" for uid in uids)
        echo = Command(command.field, command.message_id, False, sop_class, sop_instance)
        response = encode_response(echo, status.code, status.comment)
        self._wire.send(encode_command(context_id, response, self._request.maximum_pdu_bytes))

    def _arrival(self, context: AcceptedContext, command: Command) -> Arrival:
        assert self._request is not None
        return Arrival(
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=context.transfer_syntax,
            caller_ae_title=self._request.calling_ae_title,
            caller_host=self._host,
            called_ae_title=self._request.called_ae_title,
            received_at=time.time(),
        )

    def _conclude(self, reason: str, seconds: float) -> None:
        metrics, doors = self._around.metrics, self._around.doors
        doors.dismiss(self._connection)
        metrics.count("edge_receive_connections_ended_total", reason=reason)
        event = {
            "host": self._host,
            "reason": reason,
            "stored": self._stored,
            "refused": self._refused,
            "seconds": round(seconds, 3),
        }
        if self._request is not None:
            metrics.set("edge_receive_associations_open", doors.associations)
            event["calling_ae_title"] = self._request.calling_ae_title
            log.info("association ended", extra={"event": event})
        elif reason != "rejected":
            log.warning("connection ended without an association", extra={"event": event})

    def _say_good_bye(self, abort: bytes | None, *, linger: bool) -> None:
        try:
            if abort is not None:
                self._wire.send(abort)
        except ConnectionEnded as error:
            log.debug("abort not sent", extra={"event": {"host": self._host, "reason": error.reason}})
        finally:
            self._wire.finish_sending(_LINGER_SECONDS if linger else 0.0)
            self._around.doors.depart(self._connection)
            self._connection.close()
