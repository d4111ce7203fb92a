"""Where images are kept, who may send them, and how they are decoded."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from edge_runtime.config.rules import ae_title, port_number, require


@dataclass(frozen=True)
class Spool:
    path: str
    reserve_bytes: int = 5_000_000_000

    def __post_init__(self) -> None:
        require(bool(self.path), "path", "name a folder")
        require(self.reserve_bytes >= 0, "reserve_bytes", "must not be negative")


@dataclass(frozen=True)
class Retention:
    originals_hours: float = 24.0
    results_days: float = 7.0
    on_pressure: str = field(default="oldest_delivered_first", metadata={"choices": ("oldest_delivered_first", "keep")})

    def __post_init__(self) -> None:
        require(self.originals_hours > 0, "originals_hours", "must be positive")
        require(self.results_days > 0, "results_days", "must be positive")


@dataclass(frozen=True)
class Caller:
    ae_title: str
    hosts: tuple[str, ...]

    def __post_init__(self) -> None:
        ae_title("ae_title", self.ae_title)
        require(bool(self.hosts), "hosts", "name at least one address or network, such as 10.1.2.3/32")
        for index, host in enumerate(self.hosts):
            try:
                ipaddress.ip_network(host, strict=False)
            except ValueError as error:
                raise ValueError(f"hosts[{index}]: {error}") from error


@dataclass(frozen=True)
class DicomReceive:
    ae_title: str = "EDGE"
    host: str = "0.0.0.0"
    port: int = 11112
    callers: tuple[Caller, ...] | None = None
    maximum_associations: int = 32
    maximum_associations_per_caller: int = 8
    maximum_pdu_bytes: int = 262_144
    read_deadline_seconds: float = 30.0
    idle_seconds: float = 300.0  # an open association with no message under way
    minimum_bytes_per_second: int = 1_000
    maximum_object_bytes: int = 8_000_000_000

    def __post_init__(self) -> None:
        ae_title("ae_title", self.ae_title)
        require(bool(self.host), "host", "name an address; 0.0.0.0 is every one of this computer")
        port_number("port", self.port, 0)
        require(self.maximum_associations >= 1, "maximum_associations", "must be at least 1")
        require(self.maximum_associations_per_caller >= 1, "maximum_associations_per_caller", "must be at least 1")
        require(4096 <= self.maximum_pdu_bytes <= 16_777_216, "maximum_pdu_bytes", "is 4096 to 16777216")
        require(self.read_deadline_seconds > 0, "read_deadline_seconds", "must be positive")
        require(self.idle_seconds > 0, "idle_seconds", "must be positive")
        require(self.minimum_bytes_per_second >= 0, "minimum_bytes_per_second", "must not be negative")
        require(self.maximum_object_bytes >= 1_000_000, "maximum_object_bytes", "must be at least 1000000")


@dataclass(frozen=True)
class Receive:
    dicom: DicomReceive = DicomReceive()


@dataclass(frozen=True)
class Decode:
    """Limits of the processes that decode pixel data."""

    workers: int = 2
    memory_bytes: int = 2_000_000_000
    timeout_seconds: float = 60.0
    maximum_pixels_bytes: int = 1_000_000_000  # decoded size of one object

    def __post_init__(self) -> None:
        require(1 <= self.workers <= 64, "workers", "is 1 to 64")
        require(self.memory_bytes >= 500_000_000, "memory_bytes", "must be at least 500000000")
        require(self.timeout_seconds > 0, "timeout_seconds", "must be positive")
        require(self.maximum_pixels_bytes > 0, "maximum_pixels_bytes", "must be positive")
