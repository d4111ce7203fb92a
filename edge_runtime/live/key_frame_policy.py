"""Which positive frames of an examination become key frames: pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from edge_runtime.config import KeyFrames as KeyFrameKeys
from edge_runtime.domain import Answer, Finding

TAKE = "take"


@dataclass(frozen=True)
class Seen:
    """What was seen of one source in one examination. `taken_at` is CLOCK_MONOTONIC seconds of capture."""

    examination: str = ""
    positives: int = 0  # in a row, up to the last result
    taken: int = 0
    taken_at: float | None = None


def is_candidate(findings: Iterable[Finding], when: str | None) -> bool:
    """Whether a frame is what its source takes key frames of.

    `when`: STAGE.LABEL.positive (or .negative: no finding of the label says otherwise); None: something positive has a
    place in the picture.
    """
    if when is None:
        placed = (f for f in findings if f.box is not None or f.mask_number is not None)
        return any(finding.answer is Answer.POSITIVE for finding in placed)
    stage, label, wanted = when.rsplit(".", 2)
    answers = {f.answer for f in findings if (f.stage, f.label) == (stage, label)}
    return Answer.POSITIVE in answers if wanted == "positive" else answers == {Answer.NEGATIVE}


def consider(
    seen: Seen, keys: KeyFrameKeys, examination: str | None, positive: bool, captured_at: float
) -> tuple[Seen, str | None]:
    """What is known after a result, and what becomes of its frame: TAKE, or why not; None for one that is not positive.

    examination: the id of the one that takes what was captured at `captured_at`; with another id all begins anew.
    """
    if not positive:
        return dataclasses.replace(seen, positives=0), None
    if examination is None:
        return Seen(), "no_examination"
    if examination != seen.examination:
        seen = Seen(examination)
    seen = dataclasses.replace(seen, positives=seen.positives + 1)
    if seen.positives < keys.results:
        return seen, "too_few"
    if seen.taken >= keys.maximum:
        return seen, "maximum"
    if seen.taken_at is not None and captured_at - seen.taken_at < keys.seconds_between:
        return seen, "too_soon"
    return dataclasses.replace(seen, taken=seen.taken + 1, taken_at=captured_at), TAKE


def give_back(seen: Seen, examination: str) -> Seen:
    """A key frame that was taken could not be stored: it does not count towards the maximum."""
    if seen.examination != examination:
        return seen
    return dataclasses.replace(seen, taken=max(0, seen.taken - 1))
