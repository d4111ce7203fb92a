"""Key frames of a live source, from the result of a frame to the PACS, and what a crash or a full disk leaves."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.key_frames import COLUMNS, ROWS, SOURCE, CountingMetrics, frame_result, picture, video_config
from support.pacs import orthanc, storescp, wait_until
from support.report_sources import _patient

from edge_runtime import examination
from edge_runtime.config import Config
from edge_runtime.domain import MANUFACTURER, Answer
from edge_runtime.errors import SpoolError
from edge_runtime.live.key_frames import KeyFrames
from edge_runtime.patient_and_study import attributes_from, attributes_of
from edge_runtime.result_objects import ResultKind
from edge_runtime.roles.collect import Collector
from edge_runtime.roles.deliver import _worker
from edge_runtime.roles.link import Link, socket_pair
from edge_runtime.roles.reporting import write_waiting
from edge_runtime.spool.jobs import Job, JobTable
from edge_runtime.spool.retention import Sweeper
from edge_runtime.spool.spool import Spool, open_spool, prepare_spool
from edge_runtime.telemetry.metrics import NullMetrics

SC = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr("edge_runtime.live.key_frames.POLL_SECONDS", 0.05)


class Room:
    """A source in a room: a prepared spool, and the part that chooses and stores key frames."""

    def __init__(self, folder: Path, **keys: Any) -> None:
        self.folder = folder
        self.config = video_config(folder, **keys)
        prepare_spool(self.config)
        self.spool = open_spool(self.config)
        self.metrics = CountingMetrics()
        self.hints: list[str] = []
        self.key_frames = KeyFrames(self.config, self.spool, self.metrics, self.hints.append)

    def begin(self, patient: str = "P-77", **more: str) -> examination.Examination:
        values = {"PatientID": patient, "PatientName": f"{patient}^Eva", "StudyInstanceUID": f"2.25.{len(patient)}7"}
        return examination.begin(self.spool.layout, SOURCE, attributes_from({**values, **more}), 4)

    def end(self) -> None:
        examination.end(self.spool.layout, SOURCE)

    def offer(self, sequence: int, **more: Any) -> None:
        self.key_frames.offer(frame_result(sequence, **more), picture(sequence))

    def stored(self, count: int) -> list[Job]:
        """As many concluded jobs, in the order in which they were made."""
        self.metrics.wait_for(stored=count)
        return sorted(self.spool.jobs.all(), key=lambda job: job.id)

    def report(self) -> None:
        ours, theirs = socket_pair()
        with ours, theirs:
            while write_waiting(self.config, self.spool, Link(theirs, list), NullMetrics()):
                pass

    def deliver(self, name: str) -> None:
        ours, theirs = socket_pair()
        with ours, theirs:
            destination = next(d for d in self.config.destinations if d.name == name)
            worker = _worker(destination, self.config, self.spool, Link(theirs, list), NullMetrics())
            while worker.run_round():
                pass

    def files(self, job: Job) -> dict[str, Path]:
        return {path.name: path for path in (self.spool.layout.job(job.id) / "report").iterdir()}

    def original(self, job: Job) -> Any:
        (receipt,) = self.spool.instances.of_job(job.id)
        assert self.spool.store.verify(receipt)
        return pydicom.dcmread(self.spool.store.path(receipt.id))

    def close(self) -> None:
        self.key_frames.close()
        self.spool.close()


@pytest.fixture
def room(tmp_path) -> Iterator[Room]:
    place = Room(tmp_path)
    yield place
    place.close()


def like(folder: Path, character_set: str = "ISO_IR 100", name: str = "Müller^Jörg") -> Path:
    """A DICOM file of the study, as the modality made it: without pixels."""
    dataset = pydicom.Dataset()
    _patient(dataset)
    dataset.SpecificCharacterSet = character_set
    dataset.PatientName = name
    dataset.TimezoneOffsetFromUTC = "+0200"
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.77.1.1", "2.25.9", "ES"
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.save_as(folder / "like.dcm", enforce_file_format=True)
    return folder / "like.dcm"


def test_a_positive_frame_becomes_objects_of_the_patients_study_with_the_pixels_as_they_were(room, tmp_path):
    attributes = attributes_of(like(tmp_path))
    begun = examination.begin(room.spool.layout, SOURCE, attributes, 4)
    room.offer(7)
    (job,) = room.stored(1)
    assert (job.state, job.pipeline, "report" in room.hints) == ("concluded", "endoscopy", True)
    room.report()
    files = room.files(room.spool.jobs.get(job.id))
    assert set(files) == {"frame.dcm", "sr.dcm", "overlay-1.dcm", "result.json", "manifest.json"}
    frame = pydicom.dcmread(files["frame.dcm"])
    assert np.array_equal(frame.pixel_array, picture(7))
    assert np.array_equal(room.original(job).pixel_array, picture(7))
    assert 0x00020102 not in frame.file_meta
    assert (frame.SOPClassUID, frame.Modality, frame.ConversionType) == (SC, "ES", "DV")
    assert (frame.LossyImageCompression, "BurnedInAnnotation" in frame) == ("01", False)
    assert (frame.SeriesInstanceUID, frame.InstanceNumber, frame.StationName) == (begun.series_uid, 1, SOURCE)
    assert frame.Manufacturer == MANUFACTURER
    captured = pydicom.valuerep.DT(frame.AcquisitionDateTime).timestamp()
    assert captured == pytest.approx(job.last_received_at, abs=1e-5)
    series = set()
    for path in (path for path in files.values() if path.suffix == ".dcm"):
        dataset = pydicom.dcmread(path)
        assert (str(dataset.PatientName), dataset.PatientID) == ("Müller^Jörg", "P-77")
        assert (dataset.StudyInstanceUID, dataset.AccessionNumber) == ("2.25.101", "A1")
        assert (dataset.StudyDate, dataset.StudyTime) == ("20261101", "081500")
        assert dataset.TimezoneOffsetFromUTC == "+0200"
        series.add(dataset.SeriesInstanceUID)
    assert len(series) == 3
    overlay = pydicom.dcmread(files["overlay-1.dcm"])
    assert overlay.SourceImageSequence[0].ReferencedSOPInstanceUID == frame.SOPInstanceUID
    assert (overlay.LossyImageCompression, "BurnedInAnnotation" in overlay) == ("01", False)
    told = json.loads(files["result.json"].read_text())
    assert told["completeness"] == "1 frame of a live source"
    assert told["no_segmentation"] == "masks of frame sequences are drawn on the overlay only"


def test_the_overlay_shows_the_colours_of_the_frame(room):
    room.begin()
    room.offer(1)
    (job,) = room.stored(1)
    room.report()
    drawn = pydicom.dcmread(room.files(job)["overlay-1.dcm"]).pixel_array
    shown = np.repeat(np.repeat(picture(1), 7, axis=0), 7, axis=1)
    top = next(k for k in range(len(drawn)) if np.array_equal(drawn[k, :300], shown[0, :300]))
    area = drawn[top : top + 7 * ROWS, : 7 * COLUMNS]
    assert (area == shown).all(axis=-1).mean() > 0.95
    assert (area == (255, 64, 64)).all(axis=-1).any()


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
@pytest.mark.parametrize("source", ["file", "values"])
def test_dciodvfy_finds_no_error_in_any_object(room, tmp_path, source):
    attributes = attributes_of(like(tmp_path))
    if source == "values":
        attributes = attributes_from({"PatientID": "P-1", "PatientName": "Ito^Yui", "PatientSex": "F"})
    examination.begin(room.spool.layout, SOURCE, attributes, 4)
    room.offer(1)
    (job,) = room.stored(1)
    room.report()
    objects = [path for path in room.files(job).values() if path.suffix == ".dcm"]
    assert len(objects) == 3
    for path in objects:
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in checked.stdout + checked.stderr, path.name
        subprocess.run(["dcmdump", str(path)], capture_output=True, check=True)


def test_key_frames_reach_the_folder_and_orthanc_by_the_queue_of_all_results(tmp_path):
    with orthanc(tmp_path / "orthanc") as pacs:
        room = Room(tmp_path, pacs_port=pacs.dicom_port)
        room.begin()
        for sequence in (1, 2):
            room.offer(sequence)
            room.metrics.wait_for(stored=sequence)
        room.report()
        for name in ("disk", "pacs"):
            room.deliver(name)
        jobs = room.stored(2)
        assert [job.state for job in jobs] == ["delivered", "delivered"]
        held = [pydicom.dcmread(pydicom.filebase.DicomBytesIO(pacs.file(uid))) for uid in pacs.instances()]
        assert len(held) == 6
        by_series: dict[str, list[int]] = {}
        for dataset in held:
            by_series.setdefault(str(dataset.SeriesInstanceUID), []).append(int(dataset.InstanceNumber))
        assert sorted(sorted(numbers) for numbers in by_series.values()) == [[1, 2]] * 3
        assert len({(d.SeriesInstanceUID, d.SeriesDate, d.SeriesTime, d.Modality) for d in held}) == 3
        assert len(list((tmp_path / "out").rglob("*.dcm"))) == 6
        room.close()


def test_storescp_keeps_the_frame_bit_by_bit(tmp_path):
    with storescp(tmp_path / "in") as port:
        room = Room(tmp_path, pacs_port=port)
        room.begin()
        room.offer(3)
        (job,) = room.stored(1)
        room.report()
        room.deliver("pacs")
        uid = room.original(job).SOPInstanceUID
        came = tmp_path / "in" / f"SC.{uid}"
        wait_until(came.exists)
        assert np.array_equal(pydicom.dcmread(came).pixel_array, picture(3))
        room.close()


def test_two_examinations_in_a_row_share_nothing_and_what_lies_between_them_is_in_none(room):
    first = room.begin("P-1")
    room.offer(1)
    room.metrics.wait_for(stored=1)
    late = frame_result(2)
    room.end()
    room.key_frames.offer(late, picture(2))  # captured before the end, ready after it
    room.offer(3)
    between = frame_result(4)
    second = room.begin("P-22")
    room.key_frames.offer(late, picture(2))
    room.key_frames.offer(between, picture(4))
    room.offer(5)
    jobs = room.stored(2)
    assert room.metrics.outcomes() == {"stored": 2, "no_examination": 4}
    frames = [room.original(job) for job in jobs]
    assert [frame.PatientID for frame in frames] == ["P-1", "P-22"]
    assert [frame.SeriesInstanceUID for frame in frames] == [first.series_uid, second.series_uid]
    assert [frame.InstanceNumber for frame in frames] == [1, 1]
    assert [frame.pixel_array[0, 0, 2] for frame in frames] == [37, 5 * 37]
    assert len({frame.StudyInstanceUID for frame in frames}) == 2


def test_a_frame_in_the_queue_goes_to_the_examination_it_was_captured_in(room, monkeypatch):
    held, real = [], KeyFrames._store
    monkeypatch.setattr(KeyFrames, "_store", lambda self, taken: held.append(taken))
    room.begin("P-1")
    room.offer(1)
    wait_until(lambda: bool(held))
    room.end()
    room.begin("P-22")
    real(room.key_frames, held[0])
    (job,) = room.stored(1)
    assert room.original(job).PatientID == "P-1"


def test_without_an_examination_nothing_is_stored(room):
    for sequence in (1, 2, 3):
        room.offer(sequence)
    room.offer(4, answer=Answer.NEGATIVE)
    assert room.metrics.outcomes() == {"no_examination": 3}
    assert room.spool.jobs.all() == [] and not list((room.folder / "spool" / "instances").iterdir())


def test_a_forgotten_examination_takes_nothing_after_its_hours(room):
    begun = room.begin()
    room.metrics.wait_gauge(1.0)
    room.offer(1, at=begun.begun_monotonic + 3.99 * 3600)
    room.offer(2, at=begun.begun_monotonic + 4 * 3600)
    room.offer(3, unix=begun.ends_unix)  # the computer slept, or the clock was set
    room.stored(1)
    assert room.metrics.outcomes() == {"stored": 1, "no_examination": 2}


def test_an_examination_goes_on_where_the_process_is_replaced(tmp_path):
    room = Room(tmp_path)
    room.begin()
    room.offer(1)
    room.metrics.wait_for(stored=1)
    room.key_frames.close()
    again = KeyFrames(room.config, room.spool, room.metrics, room.hints.append)
    again.offer(frame_result(2), picture(2))
    jobs = room.stored(2)
    assert [room.original(job).InstanceNumber for job in jobs] == [1, 2]
    again.close()
    room.spool.close()


# -- what a full disk or a crash leaves ----------------------------------------------------------------------------


def test_below_the_reserve_a_key_frame_is_counted_as_failed_and_leaves_nothing(tmp_path):
    room = Room(tmp_path, reserve_bytes=10**18)
    room.begin()
    room.offer(1)
    room.metrics.wait_for(failed=1)
    assert nothing_left(room.spool)
    room.spool.store.keep_free(0)
    room.offer(2)
    room.stored(1)
    room.close()


@pytest.mark.parametrize("place", ["layout.write_durably", "results._replace", "instances.write_durably"])
def test_a_disk_that_is_full_at_any_step_leaves_nothing_and_the_next_frame_is_stored(room, monkeypatch, place):
    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    room.begin()
    module, name = place.split(".")
    owner = {"layout": "concluded"}.get(module, module)
    with monkeypatch.context() as patch:
        patch.setattr(f"edge_runtime.spool.{owner}.{name}", full)
        room.offer(1)
        room.metrics.wait_for(failed=1)
    assert nothing_left(room.spool)
    room.offer(2)
    (job,) = room.stored(1)
    assert room.original(job).InstanceNumber == 1


def test_a_journal_that_takes_nothing_leaves_nothing(room, monkeypatch):
    def full(*_arguments: Any) -> None:
        raise SpoolError("the journal cannot be written: disk is full")

    room.begin()
    with monkeypatch.context() as patch:
        patch.setattr(JobTable, "restore", full)
        room.offer(1)
        room.metrics.wait_for(failed=1)
    assert nothing_left(room.spool)


def nothing_left(spool: Spool) -> bool:
    return not spool.jobs.all() and not list(spool.store.scan()) and not list(spool.layout.jobs.iterdir())


def test_without_its_journal_a_key_frame_comes_back_as_it_was_and_is_not_analysed_as_an_image(room):
    begun = room.begin()
    room.offer(1)
    (job,) = room.stored(1)
    again = rebuilt(room)
    assert again.jobs.get(job.id) == job
    assert [receipt.id for receipt in again.instances.of_job(job.id)] == [r.id for r in again.store.scan()]
    assert again.instances.count_series(begun.series_uid) == 1
    assert again.instances.counts() == {"own_result": 1}
    Collector(room.config, again, NullMetrics(), lambda *_: None).index()
    assert again.jobs.all() == [job]
    room.spool = again
    room.report()
    assert again.jobs.get(job.id).state == "reported"
    for name in ("disk", "pacs"):
        assert {row["destination"] for row in again.deliveries.of_job(job.id)} >= {name}


def rebuilt(room: Room) -> Spool:
    room.key_frames.close()
    room.spool.close()
    for path in room.spool.layout.root.glob("journal.sqlite*"):
        path.unlink()
    prepare_spool(room.config)
    return open_spool(room.config)


def test_retention_keeps_the_image_until_the_results_are_delivered(room):
    room.begin()
    room.offer(1)
    (job,) = room.stored(1)

    def sweep() -> int:
        sweeper = Sweeper(room.spool.layout, room.spool.journal, room.spool.store, room.config.retention, 0)
        return sweeper.sweep(job.created_at + 10 * 86400).originals

    assert sweep() == 0
    room.report()
    assert sweep() == 0
    for row in room.spool.deliveries.of_job(job.id):
        room.spool.deliveries.begin([row["id"]])
        room.spool.deliveries.done(row["id"], "stored")
    assert room.spool.jobs.get(job.id).state == "delivered"
    assert sweep() == 1


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy, pydicom
sys.path.insert(0, sys.argv[2])
from support.key_frames import CountingMetrics, frame_result, picture, video_config, SOURCE
from edge_runtime import examination
from edge_runtime.live import key_frames as module
from edge_runtime.live.key_frames import KeyFrames
from edge_runtime.spool import jobs
from edge_runtime.spool.spool import open_spool, prepare_spool

module.POLL_SECONDS = 0.05
config = video_config(Path(sys.argv[1]))
last = int(sys.argv[3])
steps = 0

def die_at(owner, name):
    real = getattr(owner, name)
    def step(*arguments, **more):
        global steps
        for after in (False, True):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)
            if not after:
                answer = real(*arguments, **more)
        return answer
    setattr(owner, name, step)

spool = open_spool(config)
metrics = CountingMetrics()
key_frames = KeyFrames(config, spool, metrics, lambda role: None)
metrics.wait_gauge(1.0)
die_at(os, "fsync")
die_at(os, "replace")
die_at(Path, "replace")
die_at(Path, "rename")
die_at(Path, "mkdir")
die_at(jobs.JobTable, "restore")
key_frames.offer(frame_result(1), picture(1))
metrics.wait_for(stored=1)
print(steps, flush=True)
os._exit(0)
"""


def attempt(config: Config, folder: Path, last: int) -> int:
    """Store a key frame in a process that is killed at its `last` step; 0, or the steps it had where it lived."""
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", KILLED, str(folder), tests, str(last)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode in (0, -9), ran.stderr
    return int(ran.stdout or 0)


def test_a_kill_at_any_step_leaves_the_whole_job_or_nothing(tmp_path):
    (tmp_path / "counted").mkdir()
    total = attempt(prepared(tmp_path / "counted"), tmp_path / "counted", 0)
    assert total > 20
    found = set()
    for number, last in enumerate(sorted({*range(1, total + 1, 4), total - 1, total})):
        folder = tmp_path / str(last)
        folder.mkdir()
        config = prepared(folder)
        assert attempt(config, folder, last) == 0
        if number % 2:  # the whole daemon ended too, else the one process is replaced
            prepare_spool(config)
        spool = open_spool(config)
        metrics = CountingMetrics()
        key_frames = KeyFrames(config, spool, metrics, lambda _role: None)
        metrics.wait_gauge(1.0)
        jobs = spool.jobs.all()
        assert not list(spool.layout.jobs.glob("*.draft"))
        assert [folder.name for folder in spool.layout.jobs.iterdir()] == [job.id for job in jobs]
        kept = [receipt.id for receipt in spool.store.scan()]
        assert kept == [receipt.id for job in jobs for receipt in spool.instances.of_job(job.id)]
        assert not list(spool.layout.instances.rglob("*.part"))
        for job in jobs:
            room = Room.__new__(Room)
            room.config, room.spool = config, spool
            room.report()
            assert spool.jobs.get(job.id).state == "reported"
            assert np.array_equal(pydicom.dcmread(room.files(job)["frame.dcm"]).pixel_array, picture(1))
        found.add(len(jobs))
        key_frames.close()
        spool.close()
    assert found == {0, 1}


def prepared(folder: Path) -> Config:
    config = video_config(folder)
    prepare_spool(config)
    spool = open_spool(config)
    examination.begin(spool.layout, SOURCE, attributes_from({"PatientID": "P-1"}), 4)
    spool.close()
    return config


def test_what_a_destination_is_sent_says_what_kind_it_is(room):
    room.begin()
    room.offer(1)
    (job,) = room.stored(1)
    room.report()
    kinds = {row["file_name"]: row["kind"] for row in room.spool.deliveries.results_of(job.id)}
    overlay = ResultKind.OVERLAY.value
    assert kinds == {"frame.dcm": overlay, "overlay-1.dcm": overlay, "sr.dcm": "sr", "result.json": "json"}
