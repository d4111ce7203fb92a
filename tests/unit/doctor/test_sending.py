"""The test objects: as the daemon makes them, of nobody, and never the same twice."""

import json

import pydicom
import pytest

from edge_runtime.doctor.sending import PATIENT_NAME, write_parcels
from edge_runtime.result_objects import ResultKind

EVERYTHING = tuple(ResultKind)


@pytest.fixture
def parcels(tmp_path):
    return write_parcels(tmp_path, EVERYTHING, "EDGE", volume=True)


def test_there_is_one_of_each_kind(parcels):
    assert {parcel.kind for parcel in parcels} == set(EVERYTHING)


def test_every_object_says_that_it_is_of_a_test_patient(parcels):
    for parcel in parcels:
        if parcel.path.suffix == ".dcm":
            dataset = pydicom.dcmread(parcel.path)
            assert (str(dataset.PatientName), dataset.PatientID) == (PATIENT_NAME, "EDGE-DOCTOR")
            assert dataset.QualityControlSubject == "YES"
            assert "delete" in dataset.StudyDescription
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                assert dataset[keyword].value.startswith("2.25.")


def test_every_run_has_uids_of_its_own(tmp_path):
    seen = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made = write_parcels(tmp_path / name, EVERYTHING, "EDGE", volume=True)
        seen |= {parcel.sop_instance_uid for parcel in made} | {made[0].job_id}
    assert len(seen) == 2 * 3 + 2 + 1  # three DICOM objects and a job each, and None for what is no DICOM


def test_nothing_of_it_is_positive_and_the_event_is_a_test(parcels):
    texts = {parcel.kind: parcel.path.read_text() for parcel in parcels if parcel.path.suffix == ".json"}
    assert [finding["answer"] for finding in json.loads(texts[ResultKind.JSON])["findings"]] == ["negative"]
    event = json.loads(texts[ResultKind.EVENT])
    assert event["type"] == "test" and "answer" not in event


def test_what_pipelines_of_frames_send_has_no_segmentation(tmp_path):
    parcels = write_parcels(tmp_path, EVERYTHING, "EDGE", volume=False)
    assert ResultKind.SEG not in {parcel.kind for parcel in parcels}
    (report,) = [parcel for parcel in parcels if parcel.kind is ResultKind.SR]
    assert report.sop_class_uid == "1.2.840.10008.5.1.4.1.1.88.33"
