"""Jobs that a process of ours made whole from a picture of its own: their drafts, and what the journal keeps of them.

All of such a job lies in `jobs/<id>.draft` until its image is durable; one rename makes it a job, and then the journal
is told. What a crash leaves is a draft, which is removed with its image, or a whole job that the journal lacks, which
it is told of.
"""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.spool.index import InstanceTable
from edge_runtime.spool.instance_incoming import spool_error
from edge_runtime.spool.instances import InstanceStore
from edge_runtime.spool.layout import Layout

if TYPE_CHECKING:
    from edge_runtime.spool.spool import Spool

log = logging.getLogger("edge_runtime.spool")

DRAFT = ".draft"


@dataclass(frozen=True)
class SeriesFacts:
    """What the journal keeps of the series that an image stands in. `header` is shown and searched, as JSON."""

    study_instance_uid: str
    series_instance_uid: str
    accession_number: str
    header: dict[str, Any]


def discard_drafts(layout: Layout, store: InstanceStore) -> None:
    """Remove what a process that died had not made a job yet. The caller is the only one who makes such jobs.

    Raises:
        SpoolError: the disk refuses.
    """
    for draft in sorted(layout.jobs.glob(f"*{DRAFT}")):
        try:
            with suppress(FileNotFoundError, ValueError, LookupError, TypeError):  # it had not come as far as its image
                for instance_id in json.loads((draft / "job.json").read_bytes())["instances"]:
                    store.remove(instance_id)
            shutil.rmtree(draft)
        except OSError as error:
            raise spool_error(error, "removing the draft of a job") from error
        log.info("draft of a job removed", extra={"event": {"job": draft.name.removesuffix(DRAFT)}})


def adopt(spool: Spool) -> None:
    """Tell the journal of whole jobs of this kind that it lacks: the process died before it was told.

    Raises:
        SpoolError: the journal cannot be written.
    """
    folders = sorted(path for path in spool.layout.jobs.iterdir() if (path / "job.json").exists())
    known = spool.jobs.ids()  # after the folders: a job of another kind is in the journal before it has one
    for folder in folders:
        if folder.name in known or folder.name.endswith(DRAFT):
            continue
        record = _read_record(folder)
        if record is None:
            continue
        wanted = set(record["instances"])
        with spool.journal.write():
            spool.instances.add(receipt for receipt in spool.store.scan() if receipt.id in wanted)
            spool.jobs.restore(record, "concluded", "")
            enter_series(spool.instances, record)
        log.info("job restored from files", extra={"event": {"job": folder.name}})


def _read_record(folder: Path) -> dict[str, Any] | None:
    """The job.json of a job of this kind; None for another, or a damaged one, of which the next start speaks."""
    try:
        record: dict[str, Any] = json.loads((folder / "job.json").read_bytes())
        return record if "series" in record and record["id"] == folder.name else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def enter_series(instances: InstanceTable, record: dict[str, Any]) -> None:
    """Note the series of a job of this kind, from its job.json; nothing for a job of received images."""
    if "series" in record:
        series = SeriesFacts(**record["series"])
        instances.add_series(
            record["series_key"], series.study_instance_uid, series.series_instance_uid, series.accession_number,
            series.header,
        )  # fmt: skip
        for instance_id in record["instances"]:
            instances.own(instance_id, record["series_key"])
