"""The event that a webhook announces: what was found, in a few lines. The schema is described in docs/webhook.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from edge_runtime import __version__
from edge_runtime.domain import BANNER, Answer, Finding, JobResult, StageRecord
from edge_runtime.report.objects import Context
from edge_runtime.report.text import iso

SCHEMA_VERSION = 1

_WEIGHT = {Answer.NEGATIVE: 0, Answer.NOT_EVALUATED: 1, Answer.POSITIVE: 2}


@dataclass(frozen=True)
class Announcement:
    """One event to write, for one destination. `replaces` is the job of the earlier revision that was reported."""

    destination: str
    with_accession: bool
    replaces: str | None = None

    @property
    def file_name(self) -> str:
        """The file inside the report folder."""
        return f"event-{self.destination}.json"


def answer_of(result: JobResult) -> Answer:
    """What the whole result says: positive if any finding is; negative only where every stage gave its answer."""
    answers = {finding.answer for finding in result.analysis.findings}
    if Answer.POSITIVE in answers:
        return Answer.POSITIVE
    return Answer.NEGATIVE if answers == {Answer.NEGATIVE} and result.analysis.complete else Answer.NOT_EVALUATED


def is_announced(announce: str, answer: Answer, revision: int, earlier: Answer | None) -> bool:
    """Whether a destination with `announce: positive` or `all` gets an event.

    Of `positive` only a negative is kept back, and not even that where it takes back what was said before.
    earlier: what the revision before said, None where nobody knows any more.
    """
    if announce == "all" or answer is not Answer.NEGATIVE:
        return True
    return revision > 1 and earlier is not Answer.NEGATIVE


def event_json(context: Context, announcement: Announcement) -> bytes:
    """The whole file in UTF-8. It holds an identifier of the study only where the configuration asks for it."""
    result = context.result
    document = {
        "schema_version": SCHEMA_VERSION,
        "type": "result",
        "statement": BANNER,
        "producer": {"name": "Edge Runtime", "version": __version__, "device_serial": context.device_serial},
        "job": result.job_id,
        "pipeline": result.pipeline,
        "revision": result.revision,
        "replaces": announcement.replaces,
        "answer": answer_of(result).value,
        "complete": result.analysis.complete,
        "late": result.late,
        "labels": _labels(result.analysis.findings),
        "stages": [_stage(record) for record in result.analysis.stages],
        "times": {
            "first_received": iso(result.first_received_at),
            "last_received": iso(result.last_received_at),
            "concluded": iso(result.concluded_at),
        },
    }
    if announcement.with_accession:
        document["accession_number"] = context.original.text("AccessionNumber")
        document["study_instance_uid"] = context.study_uid
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _labels(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    """One entry a stage and label: the gravest answer, the highest probability, and how many findings say it."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.stage, finding.label), []).append(finding)
    entries = []
    for (stage, label), group in groups.items():
        answer = max((finding.answer for finding in group), key=_WEIGHT.__getitem__)
        said = [finding for finding in group if finding.answer is answer]
        sure = [finding.probability for finding in said if finding.probability is not None]
        entry = {"stage": stage, "label": label, "answer": answer.value, "count": len(said)}
        entries.append({**entry, "probability": max(sure, default=None), "threshold": said[0].threshold})
    return entries


def _stage(record: StageRecord) -> dict[str, Any]:
    engine = record.engine
    return {
        "name": record.stage,
        "outcome": record.outcome.value,
        "engine": {"name": engine.name, "version": engine.version, "intended_use": engine.statement},
    }


def doctor_event(device_serial: str, now: float) -> bytes:
    """An event of type `test`, of no study: what `edge-runtime doctor --send` posts."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "type": "test",
        "statement": "TEST: no study, no patient, nothing to do",
        "producer": {"name": "Edge Runtime", "version": __version__, "device_serial": device_serial},
        "times": {"concluded": iso(now)},
    }
    return json.dumps(document, indent=1).encode() + b"\n"
