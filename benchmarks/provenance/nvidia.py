"""The state of NVIDIA GPUs as nvidia-smi tells it. Nothing here names a single card: no UUID, no serial number."""

from __future__ import annotations

import csv
from typing import Any

from benchmarks.provenance.reading import Ask, known
from edge_runtime.telemetry.gpu.reading import EVENT_REASONS

_TEXTS = {
    "name": "name", "driver": "driver_version", "performance_state": "pstate", "compute_mode": "compute_mode",
    "persistence_mode": "persistence_mode",
}  # fmt: skip
_NUMBERS = {
    "sm_clock_mhz": "clocks.sm", "memory_clock_mhz": "clocks.mem", "sm_clock_most_mhz": "clocks.max.sm",
    "memory_clock_most_mhz": "clocks.max.mem", "celsius": "temperature.gpu", "power_draw_watts": "power.draw",
    "power_limit_watts": "power.limit", "memory_total_mib": "memory.total", "memory_used_mib": "memory.used",
    "utilization_percent": "utilization.gpu",
}  # fmt: skip
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""The field's name now, and before driver 535."""
COUNTERS = ("sw_power_cap", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sync_boost")
"""Microseconds since the driver was loaded; newer drivers have them."""
_NOT_A_FIELD = "is not a valid field to query"


def gpus(ask: Ask) -> dict[str, Any]:
    """`gpus`: one mapping a card; `gpus_absent`: why there is none though nvidia-smi is here; else nothing."""
    for reasons in REASONS:
        fields = [*_TEXTS.values(), *_NUMBERS.values(), reasons]
        said = ask(_query(fields))
        if said.status is None and said.text == "absent":
            return {}
        if _NOT_A_FIELD not in said.text:
            break
    if said.status != 0:
        return {"gpus_absent": f"nvidia-smi: {said.first_line}"}
    try:
        found = [_card(row) for row in rows(said.text, len(fields))]
        for card, slowed in zip(found, _slowed(ask), strict=False):  # none where the driver has no counters
            card.update(known({"slowed_seconds": slowed}))
    except ValueError as error:
        return {"gpus_absent": f"nvidia-smi: {error}"}
    return {"gpus": found}


def rows(text: str, columns: int) -> list[list[str]]:
    """The rows of nvidia-smi's CSV without header and units.

    Raises:
        ValueError: a row has another number of columns.
    """
    found = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    for row in found:
        if len(row) != columns:
            raise ValueError(f"a row of {len(row)} values instead of {columns}: {', '.join(row)}")
    return found


def value(cell: str) -> str | None:
    """A cell; None for "[N/A]", "N/A", "[Not Supported]" and whatever else stands in brackets."""
    return None if cell in ("", "N/A") or (cell.startswith("[") and cell.endswith("]")) else cell


def reason_names(mask: str) -> list[str]:
    """The names of a hexadecimal mask's bits, as NVML's nvmlClocksEventReasons have them; "0x200" for an unknown one.

    Raises:
        ValueError: it is no hexadecimal number.
    """
    bits = int(mask, 16)
    named = [name for place, name in enumerate(EVENT_REASONS) if bits >> place & 1]
    return named + [hex(1 << place) for place in range(len(EVENT_REASONS), bits.bit_length()) if bits >> place & 1]


def _query(fields: list[str]) -> list[str]:
    return ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]


def _card(row: list[str]) -> dict[str, Any]:
    cells = [value(cell) for cell in row]
    texts, numbers, reasons = cells[: len(_TEXTS)], cells[len(_TEXTS) : -1], cells[-1]
    return known({
        **dict(zip(_TEXTS, texts, strict=True)),
        **{key: None if cell is None else float(cell) for key, cell in zip(_NUMBERS, numbers, strict=True)},
        "reasons": None if reasons is None else reason_names(reasons) or ["none"],
    })  # fmt: skip


def _slowed(ask: Ask) -> list[dict[str, float]]:
    """Seconds for which each card was held back, by reason; nothing where the driver does not count them."""
    said = ask(_query([f"clocks_event_reasons_counters.{name}" for name in COUNTERS]))
    if said.status != 0 or _NOT_A_FIELD in said.text:
        return []
    found = []
    for row in rows(said.text, len(COUNTERS)):
        cells = zip(COUNTERS, map(value, row), strict=True)
        found.append({name: int(cell) / 1e6 for name, cell in cells if cell is not None})
    return found
