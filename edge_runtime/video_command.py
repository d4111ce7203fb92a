"""`edge-runtime video`: begin and end the examination of a source, for the person in the room. Beside the daemon.

What it prints, like the log, names no patient.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from edge_runtime.config import Config, Video
from edge_runtime.errors import EXIT_DONE, SpoolError
from edge_runtime.examination import Examination, Moment, begin, end, read_examination
from edge_runtime.patient_and_study import PATIENT_KEYWORDS, attributes_from, attributes_of
from edge_runtime.spool.index import InstanceTable
from edge_runtime.spool.journal import Journal
from edge_runtime.spool.layout import Layout


def run_video(config: Config, options: argparse.Namespace) -> int:
    """List, begin or end; the exit code.

    Raises:
        ValueError: a source or value is missing or wrong: a usage error.
        SpoolError: the spool cannot be used, or an examination is open that must not be, or none is.
    """
    layout = Layout(Path(config.spool.path))
    if options.action == "list":
        return _list(config, layout, options.json)
    video = _video(config, options.source)
    if options.action == "end":
        examination = end(layout, video.name)
        text = f"examination ended at {video.name}: it takes no further frame"
    else:
        if video.key_frames.maximum == 0:
            raise ValueError(f"{video.name} takes no key frames: its key_frames.maximum is 0")
        examination = begin(layout, video.name, _attributes(options), options.hours)
        text = f"examination begun at {video.name}: it takes key frames until {_clock(examination.ends_unix)}"
    print(json.dumps(_record(video, examination, layout), indent=1) if options.json else text)
    return EXIT_DONE


def _attributes(options: argparse.Namespace) -> bytes:
    given = {keyword: getattr(options, keyword) for keyword in PATIENT_KEYWORDS}
    if options.like is None:
        return attributes_from(given)
    if any(value is not None for value in given.values()):
        raise ValueError("give --like alone, or single values: nothing is mixed")
    return attributes_of(options.like)


def _video(config: Config, name: str | None) -> Video:
    found = next((video for video in config.video if video.name == name), None)
    if found is None:
        names = ", ".join(video.name for video in config.video) or "none"
        raise ValueError(f"name a SOURCE of the configuration; there are: {names}")
    return found


def _list(config: Config, layout: Layout, as_json: bool) -> int:
    records = [_record(video, read_examination(layout, video.name), layout) for video in config.video]
    if as_json:
        print(json.dumps(records, indent=1))
        return EXIT_DONE
    for record in records:
        line = f"{record['source']}  {record['pipeline']}  {record['state']}"
        if record["examination"] is not None:
            until = record["ended_at"] or record["ends_at"]
            line += f"  {_clock(record['begun_at'])} to {_clock(until)}  {record['key_frames']} key frames"
        print(line)
    print(f"{len(records)} sources")
    return EXIT_DONE


def _record(video: Video, examination: Examination | None, layout: Layout) -> dict[str, Any]:
    record: dict[str, Any] = {"source": video.name, "pipeline": video.pipeline, "state": "none", "examination": None}
    if examination is not None:
        is_open = examination.takes(Moment.now())
        record |= {
            "state": "open" if is_open else "ended",
            "examination": examination.id,
            "begun_at": examination.begun_unix,
            "ends_at": examination.ends_unix,
            "ended_at": examination.ended_unix,
            "key_frames": _count(layout, examination),
        }
    return record


def _count(layout: Layout, examination: Examination) -> int:
    if not layout.journal.exists():
        raise SpoolError(f"spool {layout.root} has no journal; is spool.path right, and has the daemon run?")
    with closing(Journal(layout.journal)) as journal:
        return InstanceTable(journal).count_series(examination.series_uid)


def _clock(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix))
