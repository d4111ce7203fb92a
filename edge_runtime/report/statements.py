"""What every result says of itself in words: the same sentences in the report, on the picture and in the JSON."""

from __future__ import annotations

from edge_runtime import __version__
from edge_runtime.domain import BANNER, Answer, Finding, JobResult, StageOutcome, StageRecord

_OUTCOMES = {
    StageOutcome.RAN: "ran",
    StageOutcome.NOT_NEEDED: "not needed",
    StageOutcome.SKIPPED: "SKIPPED",
    StageOutcome.NOT_EVALUATED: "NOT EVALUATED",
    StageOutcome.FAILED: "FAILED",
}
_ANSWERS = {Answer.POSITIVE: "positive", Answer.NEGATIVE: "negative", Answer.NOT_EVALUATED: "NOT EVALUATED"}


def identity(result: JobResult) -> str:
    """Which pipeline and program made it."""
    return f"Pipeline {result.pipeline}, revision {result.revision}, Edge Runtime {__version__}"


def marks(result: JobResult) -> tuple[str, ...]:
    """What must not be overlooked: an incomplete analysis, a late one, one that replaces another."""
    found = []
    if not result.analysis.complete:
        found.append("INCOMPLETE: what was not evaluated is not a negative")
    if result.late:
        found.append(f"LATE: concluded {result.concluded_at - result.deadline_at:.1f} s after its deadline")
    if result.revision > 1:
        found.append(f"REVISION {result.revision}: replaces an earlier result")
    return tuple(found)


def engines(result: JobResult) -> tuple[str, ...]:
    """Each engine that the stages name, once."""
    return tuple(dict.fromkeys(f"{s.engine.name} {s.engine.version}" for s in result.analysis.stages))


def stage_line(record: StageRecord) -> str:
    """What became of a stage and which engine it is."""
    engine = record.engine
    reason = f" ({record.reason})" if record.reason else ""
    return (
        f"Stage {record.stage}: {_OUTCOMES[record.outcome]}{reason}; engine {engine.name} {engine.version}, "
        f"{engine.precision}, {engine.backend}, sha256 {engine.sha256}; {record.seconds:.3f} s"
    )


def finding_line(finding: Finding) -> str:
    """A finding in a few words, for the picture."""
    parts = [f"{finding.stage} {finding.label}: {_ANSWERS[finding.answer]}"]
    if finding.probability is not None:
        parts.append(f"p={finding.probability:.2f}")
    parts += [f"{m.concept.meaning} {m.value:.4g} {m.unit.value}" for m in finding.measurements]
    return ", ".join(parts)


def intended_uses(result: JobResult) -> tuple[str, ...]:
    """What each engine's maker says that it is for."""
    return tuple(dict.fromkeys(f"{s.engine.name}: {s.engine.statement}" for s in result.analysis.stages))


def summary(result: JobResult, no_segmentation: str | None) -> tuple[str, ...]:
    """All of it, in the order in which a reader needs it."""
    return (
        BANNER,
        identity(result),
        *marks(result),
        "Analysis complete" if result.analysis.complete else "Analysis not complete",
        f"Input: {result.completeness}",
        *(stage_line(record) for record in result.analysis.stages),
        *(f"Note: {note}" for note in result.notes),
        *(f"Intended use of {use}" for use in intended_uses(result)),
        *((f"No segmentation object: {no_segmentation}",) if no_segmentation else ()),
    )
