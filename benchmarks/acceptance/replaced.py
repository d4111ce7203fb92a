"""What of a site's configuration is replaced so that a test touches nothing of the hospital's. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime.config import Config, Destination, Video

LEFT_OUT = ("mqtt",)
"""Types of destinations that have no stand-in."""

_LOCAL = "127.0.0.1"
_ADDRESS = re.compile(rf"(?i)\b([a-z][a-z0-9+.-]*)://(?!{re.escape(_LOCAL)}[:/])\S+")
_PRIVATE = ("secret_file", "password_file", "user", "key", "certificate")
_HIDDEN = "(removed)"


@dataclass(frozen=True)
class Place:
    """Where a stand-in is: a folder, a port, or (for what signs its events) a key file."""

    folder: Path | None = None
    port: int | None = None
    secret_file: Path | None = None


@dataclass(frozen=True)
class Replaced:
    """What is put over the site's file (`--set KEY=VALUE` of `edge-runtime run`), and each difference in words."""

    overrides: tuple[str, ...]
    differences: tuple[str, ...]
    left_out: tuple[str, ...]


def replacements(config: Config, places: Mapping[str, Place], videos: Mapping[str, str]) -> Replaced:
    """What to put over the configuration. `places`: of the stand-ins by destination; `videos`: files by source.

    The daemon of the test gets a spool and free ports of its own besides (`benchmarks.daemon`).
    """
    overrides: list[str] = []
    differences = [
        "spool.path: a folder of the test's own, removed afterwards",
        "receive.dicom.host, receive.dicom.port, http.port: 127.0.0.1 and free ports",
    ]
    overrides.append(f"http.host={_LOCAL}")
    for key in ("tls", "login", "metrics"):
        if getattr(config.http, key) is not None:
            overrides.append(f"http.{key}=null")
            differences.append(f"http.{key}: left out, as the page of the test is for this computer only")
    if config.receive.dicom.callers is not None:
        callers = [{"ae_title": caller.ae_title, "hosts": [_LOCAL]} for caller in config.receive.dicom.callers]
        overrides.append(f"receive.dicom.callers={json.dumps(callers)}")
        differences.append("receive.dicom.callers: the same AE titles, from 127.0.0.1 only")
    left_out = tuple(one.name for one in config.destinations if one.name not in places)
    if config.destinations:
        kept = [_stand_in(one, places[one.name]) for one in config.destinations if one.name in places]
        overrides.append(f"destinations={json.dumps(kept)}")
    for one in config.destinations:
        what = (
            "left out, as there is no stand-in for its type" if one.name in left_out else "a stand-in on this computer"
        )
        differences.append(f"destinations.{one.name} ({one.type}): {what}")
    overrides += _send_to(config, left_out)
    for name, file in videos.items():
        keys = {"command": None, "url": file, "loop": True, "pace": "stream"}
        overrides += [f"video.{name}.{key}={json.dumps(value)}" for key, value in keys.items()]
        differences.append(f"video.{name}: a file stands in for the camera, again and again, at its own rate")
    return Replaced(tuple(overrides), tuple(differences), left_out)


def _stand_in(destination: Destination, place: Place) -> dict[str, Any]:
    kept = replace(destination, ca_file=None)
    if destination.type == "dicom":
        kept = replace(kept, host=_LOCAL, port=place.port)
    elif destination.type == "dicomweb":
        kept = replace(kept, url=f"http://{_LOCAL}:{place.port}")
    elif destination.type == "webhook":
        kept = replace(kept, url=f"http://{_LOCAL}:{place.port}/", secret_file=str(place.secret_file))
    else:
        kept = replace(kept, path=str(place.folder))
    return {key: value for key, value in asdict(kept).items() if value is not None}


def _send_to(config: Config, left_out: Sequence[str]) -> list[str]:
    overrides = []
    for pipeline in config.pipelines:
        kept = [send for send in pipeline.send_to if send.name not in left_out]
        if len(kept) < len(pipeline.send_to):
            sends = [{key: value for key, value in asdict(send).items() if value is not None} for send in kept]
            overrides.append(f"pipelines.{pipeline.name}.send_to={json.dumps(sends)}")
    return overrides


def without_secrets(config: Config) -> dict[str, Any]:
    """The whole configuration, defaults included, for the acceptance folder: no password, key, token or user."""
    document: dict[str, Any] = _cleaned(asdict(config))
    document["video"] = [{**asdict(video), **_source(video)} for video in config.video]
    return document


def _source(video: Video) -> dict[str, Any]:
    """A file as it stands; of an address the scheme, of a command the program; the rest may hold a password."""
    if video.command is not None:
        return {"command": f"{shlex.split(video.command)[0]} {_HIDDEN}"}
    return {"url": video.url if video.file is not None else f"{video.scheme}://{_HIDDEN}"}


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _HIDDEN if key in _PRIVATE and one is not None else _cleaned(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(one) for one in value]
    return _ADDRESS.sub(rf"\1://{_HIDDEN}", value) if isinstance(value, str) else value
