"""What is decided before a stage, and before a frame is started. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from edge_runtime.schedule.estimates import Estimate


class Choice(str, Enum):
    """What becomes of a stage; DROP gives up the whole frame."""

    RUN = "run"
    CHEAPER = "cheaper"
    SKIP = "skip"
    DROP = "drop"


@dataclass(frozen=True)
class Decision:
    """What was decided and why. `variant` counts from 0, the configured engine; 0 where nothing is to run.

    `needed_seconds` is what the configured engine is expected to need, `expected_seconds` what the one that runs is;
    `reserve_seconds` is what must be left after it.
    `reason`: fits, probe (too slow by what is known, and tried again), too_slow (it needs more than is left), too_late
    (nothing is left), reserved (what is left is needed by later stages), no_deadline.
    """

    choice: Choice
    variant: int
    reason: str
    needed_seconds: float
    left_seconds: float | None
    probe: bool
    reserve_seconds: float = 0.0
    expected_seconds: float = 0.0

    def text(self) -> str:
        """One short sentence for results and logs."""
        if self.left_seconds is None:
            return "there is no deadline"
        left = max(0.0, self.left_seconds)
        said = f"it needs about {self.needed_seconds:.3g} s, the deadline leaves {left:.3g} s"
        if self.reason == "reserved":
            said += f", and later stages need {self.reserve_seconds:.3g} s of it"
        if self.probe:
            said += "; it is tried because nothing is known of late"
        if self.choice is Choice.CHEAPER:
            said += f"; cheaper variant {self.variant} runs instead"
        return said


def decide(
    options: Sequence[Estimate],
    *,
    left_seconds: float | None,
    reserve_seconds: float,
    optional: bool,
    droppable: bool,
) -> Decision:
    """What to do about a stage of which `left_seconds` are left until the deadline (None: there is no deadline).

    `options[0]` is the configured engine, the rest are its cheaper variants, the dearest first. `reserve_seconds` is
    what later mandatory stages need at least. Live frames are droppable, studies are not: their mandatory stages run
    as configured where nothing would be in time.
    """
    needed = options[0].seconds

    def decided(choice: Choice, variant: int, reason: str, probe: bool = False) -> Decision:
        expected = options[variant].seconds if choice in (Choice.RUN, Choice.CHEAPER) else 0.0
        return Decision(choice, variant, reason, needed, left_seconds, probe, reserve_seconds, expected)

    if left_seconds is None:
        return decided(Choice.RUN, 0, "no_deadline")
    if left_seconds > 0:
        shortage = "too_slow" if needed > left_seconds else "reserved"
        for variant, option in enumerate(options):
            choice = Choice.CHEAPER if variant else Choice.RUN
            if option.seconds + reserve_seconds <= left_seconds:
                return decided(choice, variant, shortage if variant else "fits")
            if option.probe:
                return decided(choice, variant, "probe", probe=True)
    else:
        shortage = "too_late"
    if droppable and (left_seconds <= 0 or not optional):
        return decided(Choice.DROP, 0, shortage)
    return decided(Choice.SKIP if optional else Choice.RUN, 0, shortage)


def reserve_for(later: Iterable[Sequence[Estimate]], spare_seconds: float) -> float:
    """What must be left for later mandatory stages, each given by the estimates of its variants: the fastest count.

    Where that is more than can be spared (what is left less what the stage itself needs), stages that may be tried now
    count nothing: else the ones before them would never let them be tried.
    """
    fastest = [min(variants, key=lambda each: each.seconds) for variants in later]
    reserve = sum(each.seconds for each in fastest)
    return reserve if reserve <= spare_seconds else sum(each.seconds for each in fastest if not each.probe)


class Admission(Enum):
    """What becomes of the newest frame of a source."""

    START = "start"
    WAIT = "wait"
    STALE = "stale"


def admit(
    *,
    age_seconds: float,
    deadline_seconds: float,
    own_seconds: float,
    ahead_seconds: float,
    in_flight: int,
    depth: int,
    probe: bool,
    urgent_seconds: float = math.inf,
    capacity: int = 1,
) -> Admission:
    """Whether a frame is started now, waits (a fresher one may take its place), or is given up.

    `own_seconds` is what its mandatory stages are expected to need, `ahead_seconds` what those in flight (at most
    `depth`) still need in sum on an accelerator that takes `capacity` runs at once, and `urgent_seconds` what is left
    of the earliest deadline among them: no run can be interrupted, so that a later frame delays an earlier one. With
    nothing in flight a frame is started until its deadline: the decision before its first stage then probes or drops.
    """
    left = deadline_seconds - age_seconds
    if left <= 0:
        return Admission.STALE
    if in_flight == 0:
        return Admission.START
    if own_seconds > left and not probe:
        return Admission.STALE
    wait_seconds = ahead_seconds / capacity
    if in_flight >= depth or wait_seconds >= left:
        return Admission.WAIT
    delayed_seconds = (ahead_seconds + own_seconds) / capacity
    fits = wait_seconds + own_seconds <= left and delayed_seconds <= urgent_seconds
    return Admission.START if fits or (probe and own_seconds > left) else Admission.WAIT
