"""What changed in a machine's state from before to after, in sentences. Pure: it reads two documents of `state`."""

from __future__ import annotations

from typing import Any

BUSY_GPU_PERCENT = 10.0
_HARMLESS = frozenset({"none", "gpu_idle"})


def differences(before: dict[str, Any], after: dict[str, Any], *, gpu_used: bool) -> list[str]:
    """Why figures of this run may not be those of the machine at rest; of GPUs only where one was used."""
    found = [*_settings(before, after), *_throttled(before, after), *_too_warm(before, after)]
    return [*found, *_gpus(before, after)] if gpu_used else found


def _settings(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    clocks = [one.get("clocks", {}) for one in (before, after)]
    pairs = [("power mode", before.get("power_mode"), after.get("power_mode"))]
    for key, name in (
        ("governors", "governors of the cores' clocks"), ("turbo", "turbo state"),
        ("least_mhz", "lowest allowed clock (MHz)"), ("most_mhz", "highest allowed clock (MHz)"),
    ):  # fmt: skip
        pairs.append((name, clocks[0].get(key), clocks[1].get(key)))
    return [
        f"the {name} changed during the run from {_told(old)} to {_told(new)}" for name, old, new in pairs if old != new
    ]


def _throttled(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    old, new = before.get("throttle_counts", {}), after.get("throttle_counts", {})
    return [
        f"the machine was throttled during the run: {name} rose by {new[name] - old[name]}"
        for name in new
        if name in old and new[name] > old[name]
    ]


def _too_warm(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found = []
    for name, zone in after.get("thermal_zones", {}).items():
        trip = zone.get("trip_celsius")
        if trip is not None and zone["celsius"] >= trip:
            was = before.get("thermal_zones", {}).get(name, {}).get("celsius")
            text = (
                f"thermal zone {name} was at {zone['celsius']:g} degrees C after the run, not below its trip point of "
            )
            found.append(f"{text}{trip:g}" + ("" if was is None else f" (before: {was:g})"))
    return found


def _gpus(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    told = (one.get("gpus_absent") for one in (before, after))
    found = [f"the GPU's state is not known: {why}" for why in dict.fromkeys(told) if why]
    old_cards, new_cards = before.get("gpus", []), after.get("gpus", [])
    for number, card in enumerate(old_cards):
        if card.get("utilization_percent", 0.0) > BUSY_GPU_PERCENT:
            found.append(f"GPU {number} was not quiet: {card['utilization_percent']:.0f} % busy before the start")
    if len(old_cards) != len(new_cards):
        found.append(f"there were {len(old_cards)} GPUs before the run and {len(new_cards)} after it")
    for number, (old, new) in enumerate(zip(old_cards, new_cards, strict=False)):
        for when, card in (("before", old), ("after", new)):
            reasons = [name for name in card.get("reasons", []) if name not in _HARMLESS]
            if reasons:
                found.append(f"GPU {number} was held back {when} the run: {', '.join(reasons)}")
        for name, seconds in new.get("slowed_seconds", {}).items():
            more = seconds - old.get("slowed_seconds", {}).get(name, seconds)
            if more > 0:
                found.append(f"GPU {number} was held back for {more:.2g} s during the run: {name}")
        if old.get("power_limit_watts") != new.get("power_limit_watts"):
            limits = [_told(card.get("power_limit_watts")) for card in (old, new)]
            found.append(f"the power limit of GPU {number} (W) changed during the run from {limits[0]} to {limits[1]}")
    return found


def _told(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_told, value))
    return "absent" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
