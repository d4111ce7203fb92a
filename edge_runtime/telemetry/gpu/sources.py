"""All GPUs of this computer, each with everything that any source tells of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_runtime.telemetry.gpu.nvml import Nvml, NvmlUnusable, open_nvml
from edge_runtime.telemetry.gpu.reading import GPUS, Gpu, Reading, filled, pci_address
from edge_runtime.telemetry.gpu.sysfs import Board, find_board

_INTEGRATED = re.compile(r"\b(Xavier|Orin|Thor)\b")


@dataclass(frozen=True)
class Sample:
    """One moment: readings by the GPU's label, watts by rail."""

    readings: Mapping[str, Reading] = field(default_factory=dict)
    rails: Mapping[str, float] = field(default_factory=dict)

    @property
    def tells(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.rails) or any(reading.tells for reading in self.readings.values())


class Sources:
    """The GPUs that were found, and how to read them. `trouble`: why the driver tells nothing though there is one."""

    def __init__(self, board: Board | None, nvml: Nvml | None, trouble: str = "") -> None:
        self.board, self.trouble = board, trouble
        self._nvml = nvml
        cards = nvml.gpus if nvml is not None else ()
        self._of_board: str | None = None
        if board is not None:
            same = [gpu.label for gpu in cards if _is_of(gpu, board)]
            self._of_board = same[0] if same else GPUS[min(len(cards), len(GPUS) - 1)]
            if not same:
                cards = (*cards[: len(GPUS) - 1], Gpu(self._of_board, board.name, pci_bus_id=board.pci_bus_id))
        self.gpus = tuple(cards)

    def read(self) -> Sample:
        """All of them now. It blocks for as long as the driver does."""
        readings: dict[str, Reading] = {}
        if self._nvml is not None:
            found = zip(self._nvml.gpus, self._nvml.read(), strict=True)
            readings = {gpu.label: reading for gpu, reading in found}
        if self.board is None or self._of_board is None:
            return Sample(readings)
        own, rails = self.board.read()
        told = replace(readings.get(self._of_board, Reading()), memory_used_bytes=None, memory_total_bytes=None)
        readings[self._of_board] = told if told.lost else filled(told, own)
        return Sample(readings, rails)

    def close(self) -> None:
        """Let go of the driver."""
        if self._nvml is not None:
            self._nvml.close()


def find_gpus(root: Path = Path("/")) -> Sources:
    """What this computer has; `root` is where its /sys is."""
    board, trouble = find_board(root), ""
    nvml = None
    try:
        nvml = open_nvml()
    except NvmlUnusable as error:
        trouble = str(error)
    return Sources(board, nvml, trouble)


def _is_of(gpu: Gpu, board: Board) -> bool:
    """Whether the driver's GPU is the integrated one, whose memory is the computer's."""
    address = pci_address(board.pci_bus_id)
    return (address is not None and address == pci_address(gpu.pci_bus_id)) or bool(_INTEGRATED.search(gpu.name))
