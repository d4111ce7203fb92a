"""One C-STORE: its bytes go to a file while its identity is checked."""

from __future__ import annotations

from edge_runtime.errors import EdgeRuntimeError, Refused
from edge_runtime.receive.command import Command
from edge_runtime.receive.negotiation import AcceptedContext
from edge_runtime.receive.prefix import (
    PREFIX_LIMIT_BYTES,
    Identity,
    MoreNeeded,
    Unreadable,
    read_identity,
    valid_uid,
)
from edge_runtime.spool.instance_incoming import IncomingInstance
from edge_runtime.spool.instances import InstanceStore
from edge_runtime.spool.receipt import Arrival, Receipt


def refusal_of(command: Command, context: AcceptedContext) -> Refused | None:
    """Why a C-STORE-RQ is refused before its data set is looked at; None when it is not."""
    if not (valid_uid(command.sop_class_uid) and valid_uid(command.sop_instance_uid)):
        return Refused("invalid_uid", "the command's SOP class or instance UID is invalid")
    if command.sop_class_uid != context.abstract_syntax:
        return Refused("class_not_of_context", "the command's SOP class is not that of its presentation context")
    if not command.has_data_set:
        return Refused("no_data_set", "the command announces no data set")
    return None


class IdentityCheck:
    """Compares what a data set says it is with what its command said, as soon as enough bytes are there."""

    def __init__(self, expected: Identity, transfer_syntax: str) -> None:
        self._expected = expected
        self._transfer_syntax = transfer_syntax
        self._prefix = bytearray()
        self._look_at_bytes = 1
        self.done = False

    def feed(self, data: memoryview) -> None:
        """Look at further bytes.

        Raises:
            Refused: the data set is another object, or does not say what it is.
        """
        self._prefix += data[: PREFIX_LIMIT_BYTES - len(self._prefix)]
        if len(self._prefix) < self._look_at_bytes:
            return
        self._look_at_bytes = min(2 * len(self._prefix), PREFIX_LIMIT_BYTES)  # never quadratic in small pieces
        self._compare(is_all=len(self._prefix) == PREFIX_LIMIT_BYTES)

    def finish(self) -> None:
        """The data set has ended.

        Raises:
            Refused: it is another object, or does not say what it is.
        """
        if not self.done:
            self._compare(is_all=True)

    def _compare(self, *, is_all: bool) -> None:
        try:
            stated = read_identity(bytes(self._prefix), self._transfer_syntax)
        except MoreNeeded as error:
            if is_all:
                raise Refused("identity_unreadable", "the data set does not state its SOP UIDs") from error
            return
        except Unreadable as error:
            raise Refused("identity_unreadable", str(error)) from error
        if not (stated.sop_class_uid and stated.sop_instance_uid):
            raise Refused("identity_unreadable", "the data set does not state its SOP UIDs")
        if stated != self._expected:
            raise Refused("identity_differs", "command and data set state different SOP UIDs")
        self.done = True
        self._prefix = bytearray()


class StoreOperation:
    """Takes the data set of one C-STORE. After a refusal it takes the rest too, and keeps nothing."""

    def __init__(self, store: InstanceStore, command: Command, arrival: Arrival, refusal: Refused | None) -> None:
        self._check = IdentityCheck(
            Identity(command.sop_class_uid, command.sop_instance_uid), arrival.transfer_syntax_uid
        )
        self._refusal: EdgeRuntimeError | None = refusal
        self._instance: IncomingInstance | None = None
        if refusal is None:
            try:
                self._instance = store.begin(arrival)
            except EdgeRuntimeError as error:
                self._refusal = error

    def feed(self, data: memoryview) -> None:
        """Take the next bytes of the data set."""
        if self._instance is None:
            return
        try:
            if not self._check.done:
                self._check.feed(data)
            self._instance.write(data)
        except EdgeRuntimeError as error:
            self._refuse(error)

    def finish(self) -> Receipt:
        """Make the instance durable.

        Raises:
            Refused: its identity is wrong or unknown. Nothing was kept.
            SpoolError: the disk did not take it. Nothing was kept.
        """
        if self._instance is not None:
            try:
                self._check.finish()
                receipt = self._instance.commit()
            except EdgeRuntimeError as error:
                self._refuse(error)
            else:
                self._instance = None
                return receipt
        assert self._refusal is not None
        raise self._refusal

    def abandon(self) -> bool:
        """The data set will not be completed: remove what was written. True when something was under way."""
        instance, self._instance = self._instance, None
        if instance is not None:
            instance.abort()
        return instance is not None

    def _refuse(self, error: EdgeRuntimeError) -> None:
        self._refusal = error
        self.abandon()
