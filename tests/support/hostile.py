"""What the hostile tests of the whole daemon share: its journal, its log, and senders of what no toolkit would send."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from support.dicom_peers import RawPeer
from support.pacs import wait_until
from support.site import PATIENT_ID, PATIENT_NAME

from benchmarks.daemon import Daemon


def journal(spool: Path, query: str, *values: object) -> list[dict[str, Any]]:
    """Rows of the journal, read beside the daemon."""
    with closing(sqlite3.connect(f"file:{spool / 'journal.sqlite'}?mode=ro", uri=True, timeout=10)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query, values).fetchall()]


def jobs_of(daemon: Daemon, series_uid: str) -> list[dict[str, Any]]:
    """The jobs of one series, the first revision first."""
    return journal(
        daemon.spool,
        "SELECT j.* FROM jobs j JOIN series s ON s.key = j.series_key WHERE s.series_instance_uid = ?"
        " ORDER BY j.created_at",
        series_uid,
    )


def wait_states(daemon: Daemon, series: Sequence[Dataset], *states: str, seconds: float = 30.0) -> list[dict[str, Any]]:
    """Wait until the revisions of a series are in these states; the jobs."""
    series_uid = str(series[0].SeriesInstanceUID)
    try:
        wait_until(lambda: [job["state"] for job in jobs_of(daemon, series_uid)] == list(states), seconds)
    except AssertionError:
        raise AssertionError(f"{jobs_of(daemon, series_uid)} is not {states}\n{daemon.tail()}") from None
    return jobs_of(daemon, series_uid)


def all_states(daemon: Daemon) -> list[str]:
    """The states of all jobs, sorted."""
    return sorted(row["state"] for row in journal(daemon.spool, "SELECT state FROM jobs"))


def image_count(daemon: Daemon) -> int:
    """Instance files in the spool."""
    return len(list((daemon.spool / "instances").rglob("*.dcm")))


def encoded(data_set: Dataset) -> bytes:
    """The data set alone in Explicit VR Little Endian."""
    buffer = io.BytesIO()
    dcmwrite(buffer, data_set, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def store_bytes(daemon: Daemon, data_set: Dataset, data: bytes) -> int:
    """Send these bytes under the identity of `data_set`; the status of the answer."""
    with RawPeer(daemon.dicom_port).associate() as peer:
        status = peer.store(data, str(data_set.SOPClassUID), str(data_set.SOPInstanceUID))
        peer.release()
    return status


def assert_log_is_clean(daemon: Daemon, data_sets: Iterable[Dataset] = ()) -> None:
    """One line an event: no Traceback, nothing of the patient, no UID of an image."""
    said = daemon.log.read_text(errors="replace").casefold()
    secrets = [*PATIENT_NAME.split("^"), PATIENT_ID, "ACC-4711"]
    for data_set in data_sets:
        secrets += [str(data_set[key].value) for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    for secret in ["Traceback", "2.25.", *secrets]:
        assert secret.casefold() not in said, secret
