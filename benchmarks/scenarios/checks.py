"""What several scenarios require of their numbers."""

from __future__ import annotations

DEVICES = ("auto", "cpu", "cuda")
"""What runs the networks; auto: as the runtime chooses."""


def at_least_one(scenario: object, *names: str) -> None:
    """Raises ValueError where a number is less than 1."""
    for name in names:
        if getattr(scenario, name) < 1:
            raise ValueError(f"{name}: must be at least 1")


def positive(scenario: object, *names: str) -> None:
    """Raises ValueError where a number is 0 or less."""
    for name in names:
        if getattr(scenario, name) <= 0:
            raise ValueError(f"{name}: must be positive")
