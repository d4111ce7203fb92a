"""From a destination's configuration to the destination."""

from __future__ import annotations

from pathlib import Path

from edge_runtime import config
from edge_runtime.deliver.base import Destination
from edge_runtime.deliver.dicom import DicomDestination, Peer
from edge_runtime.deliver.dicomweb import DicomWebDestination
from edge_runtime.deliver.folder import FolderDestination
from edge_runtime.domain import ResultKind

_DICOM_KINDS = frozenset(ResultKind) - {ResultKind.JSON}


def accepted_kinds(destination: config.Destination) -> frozenset[ResultKind]:
    """The kinds of result that a destination of this type takes; the others stay in the spool."""
    return frozenset(ResultKind) if destination.type == "folder" else _DICOM_KINDS


def build_destination(destination: config.Destination, calling_ae_title: str) -> Destination:
    """The destination that the configuration describes; `calling_ae_title` is used where it names none."""
    seconds = destination.timeout_seconds
    if destination.type == "dicom":
        host, port, called = destination.host, destination.port, destination.ae_title
        assert host is not None and port is not None and called is not None
        peer = Peer(host, port, called, destination.calling_ae_title or calling_ae_title)
        return DicomDestination(destination.name, peer, seconds)
    if destination.type == "dicomweb":
        assert destination.url is not None
        return DicomWebDestination(destination.name, destination.url, seconds)
    assert destination.path is not None
    return FolderDestination(destination.name, Path(destination.path))
