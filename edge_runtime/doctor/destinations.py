"""Where results go: is it there, does it know us, does it take what we send. Nothing is stored here."""

from __future__ import annotations

import math
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import requests

from edge_runtime.config import Config, Destination, Pipeline
from edge_runtime.deliver.association import VERIFICATION, Association, Context, associate
from edge_runtime.deliver.base import Delivery, Outcome, Reason, SendFailed
from edge_runtime.deliver.policy import CALLED_UNKNOWN, CALLING_UNKNOWN
from edge_runtime.deliver.registry import build_destination
from edge_runtime.deliver.webhook import WebhookDestination
from edge_runtime.doctor.check import Check, Site, fail, ok, warn
from edge_runtime.doctor.disk import nearest_folder
from edge_runtime.doctor.ports import listens_everywhere
from edge_runtime.engines.card import read_card
from edge_runtime.errors import ConfigurationError
from edge_runtime.result_objects import ResultKind
from edge_runtime.spool.spool import destinations_of

LONGEST_STEP_SECONDS = 10.0
PATIENT_ID = "EDGE-DOCTOR"

_EXPLICIT_LE = "1.2.840.10008.1.2.1"
_SR, _SR_3D = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.34"
_CLASSES = {ResultKind.SEG: "1.2.840.10008.5.1.4.1.1.66.4", ResultKind.OVERLAY: "1.2.840.10008.5.1.4.1.1.7"}
_NAMES = {_SR: "SR (Comprehensive)", _SR_3D: "SR (Comprehensive 3D)", _CLASSES[ResultKind.SEG]: "SEG",
          _CLASSES[ResultKind.OVERLAY]: "SC"}  # fmt: skip


def probe_seconds(destination: Destination) -> float:
    """The longest that the checks of a destination may take."""
    return 60.0 + 8 * min(destination.timeout_seconds, LONGEST_STEP_SECONDS)


def examine_destination(destination: Destination, site: Site) -> Iterator[Check]:
    """The checks of one destination."""
    if not kinds_for(site.config, destination.name):
        todo = "name it in a pipeline's send_to, or remove it"
        yield warn(f"{destination.name}: use", "no pipeline sends anything here", todo)
    if destination.type == "dicom":
        yield from _dicom(destination, site.config)
        yield from _towards_us(destination, site.config)
    elif destination.type == "dicomweb":
        yield _dicomweb(destination)
    elif destination.type == "webhook":
        yield _webhook(destination)
    else:
        yield folder_check(destination.name, Path(destination.path or ""))


def kinds_for(config: Config, name: str) -> tuple[ResultKind, ...]:
    """Every kind of result that some pipeline sends to a destination."""
    sent = {kind for p in config.pipelines for kind in destinations_of(config, p.name).get(name, ())}
    return tuple(kind for kind in ResultKind if kind in sent)


def senders(config: Config, name: str) -> list[Pipeline]:
    """The pipelines that send something to a destination."""
    return [pipeline for pipeline in config.pipelines if destinations_of(config, pipeline.name).get(name)]


def classes_for(config: Config, name: str) -> list[str]:
    """The SOP classes that the pipelines send to a DICOM destination; an SR of volumes is a Comprehensive 3D SR."""
    found: dict[str, None] = {}
    for pipeline in senders(config, name):
        for kind in destinations_of(config, pipeline.name)[name]:
            report = _SR_3D if takes_volumes(pipeline, config) else _SR
            found[report if kind is ResultKind.SR else _CLASSES[kind]] = None
    return list(found)


def takes_volumes(pipeline: Pipeline, config: Config) -> bool:
    """Whether a pipeline makes volumes of its images, as far as the cards of its engines tell."""
    try:
        cards = [read_card(Path(config.engines.path) / stage.engine)[0] for stage in pipeline.stages]
    except ConfigurationError:  # told by the checks of the engines
        return True
    return any(card.input.kind == "volume" for card in cards)


def _dicom(destination: Destination, config: Config) -> Iterator[Check]:
    what = f"{destination.name}: DICOM"
    host, port, called = destination.host, destination.port, destination.ae_title
    assert host is not None and port is not None and called is not None
    calling = destination.calling_ae_title or config.receive.dicom.ae_title
    classes = classes_for(config, destination.name)
    contexts: list[Context] = [VERIFICATION, *((sop_class, _EXPLICIT_LE) for sop_class in classes)]
    place = f"{called} at {host}:{port}, called as {calling}"
    try:
        seconds = min(destination.timeout_seconds, LONGEST_STEP_SECONDS)
        association = associate(host, port, called, calling, contexts, seconds)
    except SendFailed as failure:
        found, todo = why_no_association(failure, called, calling)
        yield fail(what, f"{place}: {found}", todo)
        return
    try:
        yield _echo(what, place, association)
        yield _accepted(destination.name, association, classes)
    except SendFailed as failure:
        yield fail(what, f"{place}: accepted, then: {failure.delivery.detail}", "look at the peer's log")
    finally:
        association.release()


def why_no_association(failure: SendFailed, called: str, calling: str) -> tuple[str, str]:
    """What was found, and what to do."""
    detail, cause = failure.delivery.detail, failure.__cause__
    if isinstance(cause, (socket.gaierror, UnicodeError)):
        return "the name does not resolve", "correct the name, or ask for its entry in DNS; an address works too"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused", "nothing listens there: correct host and port, or start the peer"
    if failure.delivery.reason is Reason.AWAY and isinstance(cause, TimeoutError):
        return "time-out: no connection", "correct host and port, or open the firewall between us"
    if failure.delivery.reason is Reason.AWAY:
        return detail, "correct host and port; look at cable, route and firewall"
    if CALLED_UNKNOWN in detail:
        return detail, f"the peer is not called {called!r}: correct ae_title, which is case-sensitive"
    if CALLING_UNKNOWN in detail:
        return detail, f"enter {calling!r} with this computer's address at the peer"
    if failure.delivery.reason is Reason.REFUSED_ASSOCIATION:
        return detail, "look at the peer's log and its limit of associations"
    if failure.delivery.reason is Reason.TIMEOUT:
        return "connected, and no answer to the association", "is this a DICOM port? look at the peer's log"
    return f"what answers is not DICOM, or gave up: {detail}", "correct the port; is it DICOM without TLS?"


def _echo(what: str, place: str, association: Association) -> Check:
    if not association.accepts(VERIFICATION):
        return warn(what, f"{place}: accepted, without C-ECHO", "nothing, if the next line is ok; peers should have it")
    status = association.echo()
    if status != 0:
        return fail(what, f"{place}: C-ECHO status 0x{status:04X}", "look at the peer's log")
    return ok(what, f"{place}: accepted, C-ECHO answered")


def _accepted(name: str, association: Association, classes: list[str]) -> Check:
    what = f"{name}: takes"
    refused = [_NAMES[one] for one in classes if not association.accepts((one, _EXPLICIT_LE))]
    taken = [_NAMES[one] for one in classes if association.accepts((one, _EXPLICIT_LE))]
    if refused:
        found = f"{', '.join(taken) or 'nothing'}; refuses {', '.join(refused)}"
        return fail(what, found, "let the peer accept them (Explicit VR Little Endian), or leave them out of send_to")
    return ok(what, ", ".join(taken) or "nothing is to be sent")


def _towards_us(destination: Destination, config: Config) -> Iterator[Check]:
    """What the peer needs to know of us, to send images or to know who calls."""
    ours, dicom = local_address(destination.host or "", destination.port or 0), config.receive.dicom
    if ours is not None:
        listens = ours if listens_everywhere(dicom.host) else dicom.host
        found = f"we call from {ours}; images to us go to {dicom.ae_title} at {listens}:{dicom.port}"
        yield ok(f"{destination.name}: back to us", found)


def local_address(host: str, port: int) -> str | None:
    """The address of this computer that a peer sees us with, None where its name does not resolve. Sends no packet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except (OSError, UnicodeError):
        return None


def _dicomweb(destination: Destination) -> Check:
    """A search for our own test patient: it says whether the service is there, and shows nobody's data."""
    what = f"{destination.name}: DICOMweb"
    seconds = min(destination.timeout_seconds, LONGEST_STEP_SECONDS)
    query = {"PatientID": PATIENT_ID, "limit": "1"}
    try:
        with requests.get(
            f"{(destination.url or '').rstrip('/')}/studies", params=query, timeout=seconds, allow_redirects=False,
            stream=True, headers={"Accept": "application/dicom+json"},
        ) as response:  # fmt: skip
            return dicomweb_check(what, response.status_code)
    except requests.exceptions.SSLError:
        return fail(what, "the certificate is not trusted", "give the system the authority's certificate")
    except requests.ConnectTimeout:
        return fail(what, "time-out: no connection", "correct url, or open the firewall between us")
    except requests.Timeout:
        return fail(what, "connected, and no answer", "is this a DICOMweb service? look at its log")
    except requests.RequestException as error:
        return fail(what, f"no HTTP answer: {type(error).__name__}", "correct url; is the service running?")


def dicomweb_check(what: str, status: int) -> Check:
    """What the status of a search means."""
    if status in (200, 204):
        return ok(what, f"answers a search with HTTP {status}")
    if status in (401, 403, 407):
        return fail(what, f"HTTP {status}: it wants a login", "let it take our address without one")
    if status == 404:
        return fail(what, "HTTP 404: no DICOMweb service here", "url is its root, such as http://pacs:8042/dicom-web")
    return warn(what, f"HTTP {status} to a search", "it may only store: test with --send")


def _webhook(destination: Destination) -> Check:
    what = f"{destination.name}: webhook"
    hook = build_destination(destination, "")
    assert isinstance(hook, WebhookDestination)
    delivery = hook.probe()
    if delivery.outcome is Outcome.DONE:
        return ok(what, "reachable, the key can be read; no event is sent without --send")
    return fail(what, delivery.detail, webhook_todo(delivery))


def webhook_todo(delivery: Delivery) -> str:
    """What to do about an event that was not taken."""
    if delivery.reason is Reason.NO_KEY:
        return "see secret_file in docs/webhook.md"
    if delivery.reason is Reason.AWAY and math.isinf(delivery.retry_after_seconds):
        return "name the authority of its certificate as ca_file; the host in url must be that of the certificate"
    return "correct url; look at the receiver's log and at the firewall between us"


def folder_check(name: str, path: Path) -> Check:
    """Whether a folder can be written, or made."""
    what = f"{name}: folder"
    if path.exists() and not path.is_dir():
        return fail(what, f"{path}: no folder", "name a folder as path")
    there = nearest_folder(path)
    if not os.access(there, os.W_OK | os.X_OK) or os.statvfs(there).f_flag & os.ST_RDONLY:
        return fail(what, f"{there} cannot be written", "give it to the daemon's user, and mount it for writing")
    free = shutil.disk_usage(there).free
    if free < 100_000_000:
        return fail(what, f"{there} has {free / 1e6:.0f} MB left", "make room")
    return ok(what, f"{path}: {'writable' if there == path.absolute() else 'can be made'}, {free / 1e9:.1f} GB free")
