"""What a changed configuration asks for, as a table: which roles it concerns, and what needs a restart of the daemon.

Pure: files and processes are elsewhere.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_runtime.config import Config

DAEMON = "daemon"
"""Not a role: what the supervisor has opened at its start and keeps until its end."""

LIVE = ("receive",)
"""Roles that take a new configuration while they work. The process of any other role is replaced."""

OF_VIDEO = ("studies", "live", "capture")
"""Roles that are there with video only."""

CONCERNS: Mapping[str, tuple[str, ...]] = {
    "spool.path": (DAEMON,),
    "spool.reserve_bytes": ("receive",),
    "retention": ("receive",),
    "receive.dicom.ae_title": ("receive", "report", "deliver"),
    "receive.dicom.host": (DAEMON,),
    "receive.dicom.port": (DAEMON,),
    "receive.dicom.callers": ("receive",),
    "receive.dicom.maximum_associations": ("receive",),
    "receive.dicom.maximum_associations_per_caller": ("receive",),
    "receive.dicom.maximum_pdu_bytes": ("receive",),
    "receive.dicom.read_deadline_seconds": ("receive",),
    "receive.dicom.idle_seconds": ("receive",),
    "receive.dicom.minimum_bytes_per_second": ("receive",),
    "receive.dicom.maximum_object_bytes": ("receive",),
    "engines": ("infer", "studies"),
    "decode": ("infer", "studies"),
    "pipelines": ("infer", "studies", "report", "live"),
    "pipelines.results": ("report",),
    "pipelines.send_to": ("report", "live"),
    "destinations": ("report", "deliver", "live"),
    "video": (DAEMON,),
    "schedule": (DAEMON,),
    "http": (DAEMON,),
    "http.thumbnails": ("report",),  # which makes them; the page asks at each request
}
"""Whom a key of the configuration concerns; the longest key that fits counts."""

REPORT_DRAIN_SECONDS = 300.0
DELIVER_DRAIN_SECONDS = 30.0
LIVE_DRAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Plan:
    """What is to be done for a new configuration, and what is left as it is until the daemon starts again.

    `kept` are the overrides (`key.path=value`) that leave it so.
    """

    changed: tuple[str, ...]
    replaced: tuple[str, ...] = ()
    configured: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def concerned(key: str) -> tuple[str, ...]:
    """The roles that a changed key concerns; the daemon for one that the table does not have."""
    entry = entry_of(key)
    return (DAEMON,) if entry is None else CONCERNS[entry]


def entry_of(key: str) -> str | None:
    """The entry of the table that a key falls under, or None."""
    parts = re.sub(r"\[[^]]*\]", "", key).split(".")
    while parts and ".".join(parts) not in CONCERNS:
        parts.pop()
    return ".".join(parts) or None


def plan(current: Config, wanted: Config, other_engines: bool = False) -> Plan:
    """What to do to get from `current` to `wanted`. `other_engines`: other builds lie in the engines' folders."""
    keys = tuple(changes(current, wanted))
    needs_restart = tuple(key for key in keys if DAEMON in concerned(key))
    taken = [key for key in keys if key not in needs_restart]
    roles = {role for key in taken for role in concerned(key)} | ({"infer", "studies"} if other_engines else set())
    roles -= set() if current.video else set(OF_VIDEO)
    return Plan(
        changed=(*taken, *(("engines' files",) if other_engines else ())),
        replaced=tuple(sorted(roles.difference(LIVE))),
        configured=tuple(sorted(roles.intersection(LIVE))),
        needs_restart=needs_restart,
        kept=tuple(f"{key}={_yaml(current, key)}" for key in dict.fromkeys(k.split("[")[0] for k in needs_restart)),
    )


def changes(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    """The keys whose values differ: `http.port`, `pipelines[ct-head].results`, or `pipelines` for another list."""
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        key = f"{prefix}{field.name}"
        if before == after:
            continue
        if _is_section(before) and _is_section(after):
            yield from changes(before, after, f"{key}.")
        elif not prefix and _names(before) and _names(before) == _names(after):
            for one, other in zip(before, after, strict=True):
                if one != other:
                    yield from changes(one, other, f"{key}[{one.name}].")
        else:
            yield key


def drain_seconds(role: str, config: Config) -> float:
    """How long a role that is replaced may finish what it has begun: a job, a report, a send."""
    longest_job = max((pipeline.maximum_seconds for pipeline in config.pipelines), default=0.0)
    seconds = {"report": REPORT_DRAIN_SECONDS, "deliver": DELIVER_DRAIN_SECONDS, "live": LIVE_DRAIN_SECONDS}
    return longest_job if role in ("infer", "studies") else seconds[role]


def _is_section(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _names(value: object) -> list[str]:
    """The names of the items of a list of named sections; empty for anything else."""
    items = value if isinstance(value, tuple) else ()
    return [item.name for item in items if hasattr(item, "name")]


def _yaml(config: Config, key: str) -> str:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return json.dumps(value, default=dataclasses.asdict)
