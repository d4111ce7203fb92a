"""The budgets of a configuration, and what a run says of each. Pure.

A budget is a bound that stands in the site's YAML file. What stands there only by default is no budget of the site's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.measured import Budget
from benchmarks.statistics import MINIMUM_ROUNDS, percentile, percentile_interval
from edge_runtime.config import Config

MINIMUM_STUDIES = MINIMUM_ROUNDS
"""Fewer give no verdict, as everywhere in this suite."""

MINIMUM_FRAMES = 1000
"""A share of 0.99 of so many frames is known to about 0.006 either way (Wilson 1927), were they independent."""

REQUIRED_SHARE = 0.99
"""Of a source's frames that must have a result in time. The configuration names no share; this is the percentile by
which MLPerf Inference judges its server scenario (Reddi et al. 2020)."""

ALWAYS = "always required"

Verdict = Literal["pass", "fail", "no budget", "too few samples"]
Overall = Literal["pass", "fail", "not judged"]


@dataclass(frozen=True)
class Bound:
    """A deadline that the file names, and where; `seconds` None: it names none, and what then holds by default."""

    of: str
    seconds: float | None
    default_seconds: float


def study_bounds(raw: Mapping[str, Any], config: Config) -> dict[str, Bound]:
    """The deadline of each pipeline that takes series, by its name. `raw`: the YAML document as it stands."""
    named = _named(raw, "pipelines")
    return {
        one.name: Bound(
            f"pipelines.{one.name}.deadline_seconds",
            one.deadline_seconds if "deadline_seconds" in named.get(one.name, {}) else None,
            one.deadline_seconds,
        )
        for one in config.series_pipelines
    }


def frame_bounds(raw: Mapping[str, Any], config: Config) -> dict[str, Bound]:
    """The deadline of each source of live frames: its own, else its pipeline's."""
    videos, pipelines = _named(raw, "video"), _named(raw, "pipelines")
    found = {}
    for video in config.video:
        seconds = config.live_deadline_seconds(video)
        own = "deadline_seconds" in videos.get(video.name, {})
        named = own or "deadline_seconds" in pipelines.get(video.pipeline, {})
        of = f"video.{video.name}" if own or not named else f"pipelines.{video.pipeline}"
        found[video.name] = Bound(f"{of}.deadline_seconds", seconds if named else None, seconds)
    return found


def _named(raw: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    return {str(one.get("name")): one for one in raw.get(key) or [] if isinstance(one, Mapping)}


def judge_studies(name: str, bound: Bound, seconds: Sequence[float], unanswered: int, why: str = "") -> Budget:
    """Every study must be in time. `seconds`: from its last slice to its last result; `unanswered`: never came.

    why: what a reader must know besides, as the reason that there are none.
    """
    count, found = len(seconds) + unanswered, max(seconds, default=None)
    verdict: Verdict
    missed = 0 if bound.seconds is None else unanswered + sum(one > bound.seconds for one in seconds)
    if bound.seconds is None:
        verdict, said = "no budget", f"the file names no {bound.of}; by default {bound.default_seconds:g} s"
    elif missed:
        verdict, said = "fail", f"{missed} of {count} studies were not in time" + _never(unanswered)
    elif count < MINIMUM_STUDIES:
        verdict, said = "too few samples", f"{count} studies; {MINIMUM_STUDIES} are needed"
    else:
        verdict, said = "pass", f"all {count} studies were in time; {_not_excluded(count)}"
    if seconds:
        said += f"; half within {percentile(seconds, 50):.3g} s, the slowest {max(seconds):.3g} s"
        interval = percentile_interval(seconds, 99)
        if interval is not None:
            said += f", 99 % within {percentile(seconds, 99):.3g} s ({interval.low:.3g} .. {interval.high:.3g})"
    said += f". {why}" if why else ""
    return Budget(name, bound.of, bound.seconds, False, "s", found, None, count, verdict, said)


def _never(unanswered: int) -> str:
    return f", {unanswered} of them never came" if unanswered else ""


def _not_excluded(count: int) -> str:
    """What so many without a miss do not exclude, with 95 % confidence (Hanley and Lippman-Hand 1983)."""
    return f"up to {1 - 0.05 ** (1 / count):.0%} late ones in the long run are not excluded by so many (95 %)"


def judge_frames(name: str, bound: Bound, in_time: int, frames: int, why: str = "") -> Budget:
    """A share of the frames must have had a result in time. With few frames only a clear miss is judged."""
    from scipy.stats import binomtest

    share = in_time / frames if frames else None
    interval = None
    if frames:
        of_share = binomtest(in_time, frames).proportion_ci(method="wilson")
        interval = (float(of_share.low), float(of_share.high))
    unit = f"of frames within {1000 * bound.default_seconds:g} ms"
    required: float | None = REQUIRED_SHARE
    verdict: Verdict
    if bound.seconds is None:
        verdict, required = "no budget", None
        said = f"the file names no {bound.of}; by default {bound.default_seconds:g} s"
    elif frames < MINIMUM_FRAMES and (interval is None or interval[1] >= REQUIRED_SHARE):
        verdict, said = "too few samples", f"{frames} frames; {MINIMUM_FRAMES} are needed"
    else:
        verdict = "pass" if share is not None and share >= REQUIRED_SHARE else "fail"
        said = (f"{in_time} of {frames} frames had a result in time; the share of {REQUIRED_SHARE:g} is this suite's, "
                "as the configuration names none")  # fmt: skip
    said += f". {why}" if why else ""
    return Budget(name, bound.of, required, True, unit, share, interval, frames, verdict, said)


def judge_none(name: str, unit: str, wrong: Sequence[str], samples: int, why: str = "") -> Budget:
    """Nothing of a kind may happen; `wrong`: what did, a sentence each. It needs no key in the configuration."""
    verdict: Verdict = "fail" if wrong else "pass" if samples else "too few samples"
    said = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    said = said or (f"none of {samples}" if samples else "there was nothing to look at")
    said += f". {why}" if why else ""
    return Budget(name, ALWAYS, 0.0, False, unit, float(len(wrong)), None, samples, verdict, said)


def overall(budgets: Sequence[Budget], stopped: str = "") -> tuple[Overall, list[str]]:
    """The verdict on the site, and why. `stopped`: why the run did not go to its end; "" it did."""
    failed = [one.name for one in budgets if one.verdict == "fail"]
    few = [one.name for one in budgets if one.verdict == "too few samples"]
    timed = [one for one in budgets if one.of not in ("", ALWAYS) and one.verdict != "no budget"]
    sentences = [f"fail: {name}" for name in failed]
    if stopped:
        sentences.append(f"the run did not go to its end: {stopped}")
    sentences += [f"too few samples for a verdict: {name}" for name in few]
    sentences += [
        f"no budget in the configuration: {one.name}" for one in budgets if one.verdict == "no budget" and one.of
    ]
    if not timed:
        sentences.append("the configuration names no deadline, so no time was judged; write deadline_seconds into it")
    if failed:
        return "fail", sentences
    if stopped or few or not timed:
        return "not judged", sentences
    return "pass", sentences or ["every budget of the configuration was kept"]
