"""How a CUDA device is used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CudaSettings:
    """One device of the machine, and how the host waits for it.

    `wait`: "blocking" gives the core to others until the device is done; "spin" keeps it and answers some ten
    microseconds sooner. `hang_seconds`: a wait of the host that takes longer is a device that hangs.
    """

    ordinal: int = 0
    wait: str = "blocking"
    hang_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.ordinal < 0 or self.wait not in {"blocking", "spin"} or self.hang_seconds <= 0:
            raise ValueError(f"ordinal >= 0, wait blocking or spin, hang_seconds > 0: not {self}")


DEFAULTS = CudaSettings()
