"""The kinds of result, and a written one. Apart from `domain`, because roles that only pass files on need no arrays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ResultKind(Enum):
    """The kinds of object a job may give; the names are those of `results:` in the configuration.

    An event is not asked for there: a pipeline that sends to a webhook makes one for it.
    """

    SR = "sr"
    SEG = "seg"
    OVERLAY = "overlay"
    JSON = "json"
    EVENT = "event"


@dataclass(frozen=True)
class ResultObject:
    """One written, durable result file. `file_name` is inside the job's report folder.

    `destination` names the only destination that an event is for.
    """

    kind: ResultKind
    file_name: str
    sha256: str
    sop_class_uid: str | None = None  # None for JSON
    sop_instance_uid: str | None = None
    destination: str | None = None
