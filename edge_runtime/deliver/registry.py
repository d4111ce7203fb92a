"""From a destination's configuration to the destination; what a type needs is loaded when it is chosen."""

from __future__ import annotations

from pathlib import Path

from edge_runtime import config
from edge_runtime.deliver.base import Destination
from edge_runtime.result_objects import ResultKind

_DICOM_KINDS = frozenset({ResultKind.SR, ResultKind.SEG, ResultKind.OVERLAY})
_KINDS = {
    "dicom": _DICOM_KINDS,
    "dicomweb": _DICOM_KINDS,
    "folder": _DICOM_KINDS | {ResultKind.JSON},
    "webhook": frozenset({ResultKind.EVENT}),
}


def accepted_kinds(destination: config.Destination) -> frozenset[ResultKind]:
    """The kinds of result that a destination of this type takes; the others stay in the spool."""
    return _KINDS[destination.type]


def build_destination(destination: config.Destination, calling_ae_title: str) -> Destination:
    """The destination that the configuration describes; `calling_ae_title` is used where it names none."""
    seconds = destination.timeout_seconds
    if destination.type == "dicom":
        from edge_runtime.deliver.dicom import DicomDestination, Peer

        host, port, called = destination.host, destination.port, destination.ae_title
        assert host is not None and port is not None and called is not None
        peer = Peer(host, port, called, destination.calling_ae_title or calling_ae_title)
        return DicomDestination(destination.name, peer, seconds)
    if destination.type == "dicomweb":
        from edge_runtime.deliver.dicomweb import DicomWebDestination

        assert destination.url is not None
        return DicomWebDestination(destination.name, destination.url, seconds)
    if destination.type == "webhook":
        from edge_runtime.deliver.webhook import Hook, WebhookDestination

        assert destination.url is not None and destination.secret_file is not None
        ca_file = None if destination.ca_file is None else Path(destination.ca_file)
        hook = Hook(destination.url, Path(destination.secret_file), ca_file)
        return WebhookDestination(destination.name, hook, seconds)
    from edge_runtime.deliver.folder import FolderDestination

    assert destination.path is not None
    return FolderDestination(destination.name, Path(destination.path))
