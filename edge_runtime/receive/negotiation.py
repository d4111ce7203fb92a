"""Who may associate and with what: the classes and syntaxes we can store and decode, and the answers. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.config import Caller, DicomReceive
from edge_runtime.receive.pdu import APPLICATION_CONTEXT, AnsweredContext, AssociateRequest, ProposedContext

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"

_STORAGE = "1.2.840.10008.5.1.4.1.1"
STORAGE_CLASSES: Mapping[str, str] = {
    f"{_STORAGE}.1": "Computed Radiography",
    f"{_STORAGE}.1.1": "Digital X-Ray, for presentation",
    f"{_STORAGE}.1.1.1": "Digital X-Ray, for processing",
    f"{_STORAGE}.1.2": "Digital Mammography, for presentation",
    f"{_STORAGE}.1.2.1": "Digital Mammography, for processing",
    f"{_STORAGE}.2": "CT",
    f"{_STORAGE}.2.1": "Enhanced CT",
    f"{_STORAGE}.3": "Ultrasound Multi-frame (retired)",
    f"{_STORAGE}.3.1": "Ultrasound Multi-frame",
    f"{_STORAGE}.4": "MR",
    f"{_STORAGE}.4.1": "Enhanced MR",
    f"{_STORAGE}.6": "Ultrasound (retired)",
    f"{_STORAGE}.6.1": "Ultrasound",
    f"{_STORAGE}.7": "Secondary Capture",
    f"{_STORAGE}.7.1": "Multi-frame Single Bit Secondary Capture",
    f"{_STORAGE}.7.2": "Multi-frame Grayscale Byte Secondary Capture",
    f"{_STORAGE}.7.3": "Multi-frame Grayscale Word Secondary Capture",
    f"{_STORAGE}.7.4": "Multi-frame True Color Secondary Capture",
    f"{_STORAGE}.12.1": "X-Ray Angiographic",
    f"{_STORAGE}.77.1.1": "VL Endoscopic",
}

UNCOMPRESSED = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE)
_COMPRESSED = "1.2.840.10008.1.2.4"
TRANSFER_SYNTAXES: Mapping[str, str] = {
    EXPLICIT_LE: "Explicit VR Little Endian",
    IMPLICIT_LE: "Implicit VR Little Endian",
    EXPLICIT_BE: "Explicit VR Big Endian",
    DEFLATED: "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    f"{_COMPRESSED}.50": "JPEG Baseline",
    f"{_COMPRESSED}.51": "JPEG Extended",
    f"{_COMPRESSED}.57": "JPEG Lossless",
    f"{_COMPRESSED}.70": "JPEG Lossless, first-order prediction",
    f"{_COMPRESSED}.80": "JPEG-LS Lossless",
    f"{_COMPRESSED}.81": "JPEG-LS Near-lossless",
    f"{_COMPRESSED}.90": "JPEG 2000 Lossless",
    f"{_COMPRESSED}.91": "JPEG 2000",
}

ACCEPTED, ABSTRACT_SYNTAX_UNSUPPORTED, TRANSFER_SYNTAXES_UNSUPPORTED = 0, 3, 4
MINIMUM_PEER_PDU_BYTES = 64  # a peer that takes less cannot be answered with reason


@dataclass(frozen=True)
class Rejection:
    """An A-ASSOCIATE-RJ: `reason` is a closed set, the numbers are PS3.8 table 9-21."""

    reason: str
    result: int
    source: int
    code: int


CALLING_UNKNOWN = Rejection("calling_ae_title", 1, 1, 3)
CALLED_UNKNOWN = Rejection("called_ae_title", 1, 1, 7)
APPLICATION_CONTEXT_UNSUPPORTED = Rejection("application_context", 1, 1, 2)
PROTOCOL_VERSION_UNSUPPORTED = Rejection("protocol_version", 1, 2, 2)
LIMIT_REACHED = Rejection("association_limit", 2, 3, 2)
CALLER_LIMIT_REACHED = Rejection("caller_limit", 2, 3, 2)
STOPPING = Rejection("stopping", 2, 3, 1)
REJECTIONS = (
    CALLING_UNKNOWN,
    CALLED_UNKNOWN,
    APPLICATION_CONTEXT_UNSUPPORTED,
    PROTOCOL_VERSION_UNSUPPORTED,
    LIMIT_REACHED,
    CALLER_LIMIT_REACHED,
    STOPPING,
)


@dataclass(frozen=True)
class AcceptedContext:
    """What a presentation context of an association carries."""

    abstract_syntax: str
    transfer_syntax: str


def plain_address(host: str) -> str:
    """An IP address as text, IPv4 where it came mapped into IPv6, without a zone."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def caller_allowed(callers: tuple[Caller, ...] | None, ae_title: str, host: str) -> bool:
    """True when no callers are named, or one has this title and a network with this address."""
    if callers is None:
        return True
    address = ipaddress.ip_address(host)
    return any(
        caller.ae_title.strip() == ae_title
        and any(address in ipaddress.ip_network(network, strict=False) for network in caller.hosts)
        for caller in callers
    )


def rejection_of(config: DicomReceive, request: AssociateRequest, host: str) -> Rejection | None:
    """Why this request is refused whoever else is connected; None when it is not."""
    if not request.protocol_version & 1:
        return PROTOCOL_VERSION_UNSUPPORTED
    if request.application_context != APPLICATION_CONTEXT:
        return APPLICATION_CONTEXT_UNSUPPORTED
    if request.called_ae_title != config.ae_title.strip():
        return CALLED_UNKNOWN
    if not caller_allowed(config.callers, request.calling_ae_title, host):
        return CALLING_UNKNOWN
    return None


def limit_reached(config: DicomReceive, open_in_all: int, open_of_caller: int) -> Rejection | None:
    """The transient rejection when one more association would be too many; None when there is room."""
    if open_in_all >= config.maximum_associations:
        return LIMIT_REACHED
    if open_of_caller >= config.maximum_associations_per_caller:
        return CALLER_LIMIT_REACHED
    return None


def _choose(context: ProposedContext) -> AnsweredContext:
    """Explicit little endian where it is offered, else the first offered one that we take."""
    if context.abstract_syntax == VERIFICATION:
        taken: tuple[str, ...] = UNCOMPRESSED
    elif context.abstract_syntax in STORAGE_CLASSES:
        taken = tuple(TRANSFER_SYNTAXES)
    else:
        return AnsweredContext(context.id, ABSTRACT_SYNTAX_UNSUPPORTED, IMPLICIT_LE)
    offered = [syntax for syntax in context.transfer_syntaxes if syntax in taken]
    if not offered:
        return AnsweredContext(context.id, TRANSFER_SYNTAXES_UNSUPPORTED, IMPLICIT_LE)
    return AnsweredContext(context.id, ACCEPTED, EXPLICIT_LE if EXPLICIT_LE in offered else offered[0])


def answer_contexts(proposed: tuple[ProposedContext, ...]) -> tuple[AnsweredContext, ...]:
    """One answer a proposed context, in order (PS3.8 table 9-18)."""
    return tuple(_choose(context) for context in proposed)


def accepted_contexts(
    proposed: tuple[ProposedContext, ...], answers: tuple[AnsweredContext, ...]
) -> dict[int, AcceptedContext]:
    """What each accepted context carries, by its id."""
    return {
        answer.id: AcceptedContext(offer.abstract_syntax, answer.transfer_syntax)
        for offer, answer in zip(proposed, answers, strict=True)
        if answer.result == ACCEPTED
    }
