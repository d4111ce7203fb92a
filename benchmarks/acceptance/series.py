"""The series that a site is sent: shipped ones, or the site's own under a stand-in patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from benchmarks.record import BenchFailed
from benchmarks.scenarios.series import CT_PHANTOM, MR_HEAD, SHIPPED_SERIES, series_named
from benchmarks.slices import write_again
from edge_runtime.assemble.header import read_header
from edge_runtime.assemble.match import matches
from edge_runtime.config import Config, Pipeline
from edge_runtime.errors import DecodeRefused

_CANDIDATES = (CT_PHANTOM, MR_HEAD)

_NAME, _ID = "Acceptance^Test", "ACCEPTANCE"
_KEPT_OF_PATIENT = ("PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientPosition")
_EMPTIED = ("AccessionNumber", "StudyID", "InstitutionName", "InstitutionAddress", "StationName", "DeviceSerialNumber")


@dataclass(frozen=True)
class Callers:
    """Who calls whom for a pipeline (AE titles)."""

    calling: str
    called: str


def callers_of(pipeline: Pipeline, config: Config) -> Callers:
    """AE titles that the receiver lets in and the pipeline's match takes.

    Raises:
        BenchFailed: there are none.
    """
    called, allowed = config.receive.dicom.ae_title, config.receive.dicom.callers
    wanted = [title.strip() for title in pipeline.wanted.calling_ae_title]
    if allowed is None:
        return Callers(wanted[0] if wanted else _ID, called)
    titles = [caller.ae_title for caller in allowed]
    fits = [title for title in titles if not wanted or title.casefold() in [one.casefold() for one in wanted]]
    if not fits:
        raise BenchFailed(
            f"pipeline {pipeline.name}: match.calling_ae_title names nobody whom receive.dicom.callers lets in; "
            "no series can reach it"
        )
    return Callers(fits[0], called)


def load(name: str, work: Path) -> Sequence[Dataset]:
    """The series of a shipped name, or of a folder, then of a stand-in patient.

    Raises:
        BenchFailed: there is none, one of its files cannot be sent, or the folder holds more than one.
    """
    if name in SHIPPED_SERIES:
        return series_named(name, work)
    if not Path(name).is_dir():
        raise BenchFailed(f"series {name}: there is no such folder; shipped are {', '.join(SHIPPED_SERIES)}")
    for file in sorted(Path(name).glob("*.dcm")):
        _check_readable(file)
    series = series_named(name, work)
    found = {str(one.get("SeriesInstanceUID", "")) for one in series}
    if len(found) != 1:
        raise BenchFailed(f"series {name} holds files of {len(found)} series; give a folder of one")
    if len({str(one.SOPInstanceUID) for one in series}) < len(series):
        raise BenchFailed(f"series {name} holds an instance twice: two files have the same SOP Instance UID")
    return [stand_in_patient(one) for one in series]


def _check_readable(file: Path) -> None:
    try:
        read_header(file)
    except DecodeRefused as error:
        raise BenchFailed(f"{file} cannot be sent: {error}") from error


def stand_in_patient(data_set: Dataset) -> Dataset:
    """The data set (changed in place) with a stand-in for every person, and without what else names the patient.

    Pixels are left as they are.
    """
    data_set.remove_private_tags()

    def change(_: Dataset, element: Any) -> None:
        if element.VR == "PN":
            element.value = _NAME
        elif element.tag.group == 0x0010 and element.keyword not in _KEPT_OF_PATIENT:
            element.value = _ID if element.keyword == "PatientID" else ([] if element.VR == "SQ" else "")
        elif element.keyword in _EMPTIED:
            element.value = ""

    data_set.walk(change)
    data_set.PatientName, data_set.PatientID = _NAME, _ID
    return data_set


def why_not(series: Sequence[Dataset], pipeline: Pipeline, callers: Callers, folder: Path) -> str | None:
    """The first key of `match` that speaks against the series, by the rules of the daemon; None: it is taken.

    `folder`: a new one, for a copy of the first instance.
    """
    written = write_again(series[:1], folder, folder.name)
    try:
        header = read_header(next(iter(written.iterdir())))
    except DecodeRefused as error:
        raise BenchFailed(f"pipeline {pipeline.name}: its series cannot be read: {error}") from error
    planes = len(series) * header.number_of_frames
    return matches(header, pipeline.wanted, planes, callers.calling, callers.called)


def choose(pipeline: Pipeline, config: Config, work: Path) -> tuple[str, Sequence[Dataset]] | str:
    """A shipped series that the pipeline takes, or why there is none."""
    reasons = []
    for name in _CANDIDATES:
        try:
            series = series_named(name, work / name)
        except BenchFailed as error:
            reasons.append(str(error))
            continue
        reason = why_not(series, pipeline, callers_of(pipeline, config), work / f"{pipeline.name}-{name}")
        if reason is None:
            return name, series
        reasons.append(f"{name}: {reason}")
    return f"no shipped series fits its match ({'; '.join(reasons)}); name a series in TRAFFIC.yaml"
