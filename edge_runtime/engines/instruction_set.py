"""The instruction sets of processors that INT8 depends on.

Without VNNI an x86 processor adds pairs of 8-bit products in 16 bits and saturates: an INT8 network that was made for
VNNI silently answers something else there. One made with `reduce_range` (7-bit weights) does not saturate anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_LEVELS = {
    "x86_64": {"sse": 0, "avx2": 1, "avx_vnni": 2, "avx512_vnni": 2},
    "aarch64": {"asimd": 0, "asimddp": 1},
}
_FAMILIES = {name: family for family, levels in _LEVELS.items() for name in levels}
INSTRUCTION_SETS = tuple(_FAMILIES)

UNKNOWN = "unknown"

_CPUINFO = Path("/proc/cpuinfo")


def instruction_set() -> str:
    """The best of this machine's, such as "avx512_vnni"; UNKNOWN where it cannot be told."""
    try:
        return of_cpuinfo(_CPUINFO.read_text(errors="replace"))
    except OSError:
        return UNKNOWN


def of_cpuinfo(text: str) -> str:
    """The best that every processor of a /proc/cpuinfo has: the lists of flags may differ between kinds of cores."""
    lists = [line.partition(":")[2].split() for line in text.splitlines()
             if line.partition(":")[0].strip() in ("flags", "Features")]  # fmt: skip
    return _best(set.intersection(*map(set, lists)) if lists else ())


def _best(flags: Iterable[str]) -> str:
    found = [name for name in INSTRUCTION_SETS if name in set(flags)]
    return found[-1] if found else UNKNOWN


def architecture_of(name: str) -> str:
    """The architecture that has an instruction set, as platform.machine() says. Raises KeyError for an unknown one."""
    return _FAMILIES[name]


def has_vnni(name: str) -> bool:
    """Whether 8-bit products are added without saturation: VNNI, and all of ARM's."""
    return name.endswith("_vnni") or _FAMILIES.get(name) == "aarch64"


def runs_on(recorded: str, here: str) -> bool:
    """Whether an INT8 network made for `recorded` answers the same `here`: the same, or a newer one of its family."""
    family = _FAMILIES.get(recorded)
    if family is None or family != _FAMILIES.get(here):
        return recorded == here
    return _LEVELS[family][here] >= _LEVELS[family][recorded]
