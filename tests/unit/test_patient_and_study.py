"""Who and which study: from any file of the study, or from single values; never a value in a message."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset

from edge_runtime.patient_and_study import attributes_from, attributes_of, decode, encode, no_values_in_warnings

PATIENT = {"PatientID": "P-1", "PatientName": "Müller^Jörg", "StudyInstanceUID": "2.25.7"}


def dicom_file(path: Path, *, meta: bool = True, **values: object) -> Path:
    dataset = Dataset()
    with no_values_in_warnings():
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    if meta:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
        dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.31"
        dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
        dataset.save_as(path, enforce_file_format=True)
    else:
        dataset.save_as(path, implicit_vr=True, little_endian=True)
    return path


@pytest.mark.parametrize("meta", [True, False])
def test_a_worklist_item_gives_patient_and_study_and_nothing_of_the_procedure_step(tmp_path, meta):
    step = Dataset()
    step.Modality, step.ScheduledProcedureStepID = "ES", "7"
    path = dicom_file(
        tmp_path / "item", meta=meta, SpecificCharacterSet="ISO_IR 100", PatientID="P-9", PatientName="Müller^Jörg",
        PatientBirthDate="19610203", PatientSex="F", AccessionNumber="A-1", StudyInstanceUID="2.25.99",
        RequestedProcedureID="R", ScheduledProcedureStepSequence=[step],
    )  # fmt: skip
    kept = decode(attributes_of(path))
    assert (kept.PatientID, str(kept.PatientName), kept.AccessionNumber) == ("P-9", "Müller^Jörg", "A-1")
    assert (kept.StudyInstanceUID, kept.SpecificCharacterSet) == ("2.25.99", "ISO_IR 100")
    assert "ScheduledProcedureStepSequence" not in kept and "SOPClassUID" not in kept


@pytest.mark.parametrize(
    "values",
    [
        {"PatientID": "P-9"},
        {"PatientID": "", "StudyInstanceUID": "2.25.9"},
        {"PatientID": "P", "StudyInstanceUID": "x"},
    ],
)
def test_a_file_without_patient_or_study_is_refused_without_a_word_of_what_it_holds(tmp_path, values):
    path = dicom_file(tmp_path / "file", PatientName="Muster^Eva", **values)
    with pytest.raises(ValueError, match="--like") as caught:
        attributes_of(path)
    assert "Muster" not in str(caught.value) and "P-9" not in str(caught.value)


def test_what_is_no_dicom_file_is_refused(tmp_path):
    (tmp_path / "text").write_bytes(b"Muster^Eva has an examination" * 20)
    for name in ("text", "nowhere"):
        with pytest.raises(ValueError, match="--like"):
            attributes_of(tmp_path / name)


@pytest.mark.parametrize(
    ("keyword", "value", "option"),
    [
        ("PatientID", "a\\b", "--patient-id"), ("PatientID", "1" * 65, "--patient-id"), ("PatientID", " ", "--like"),
        ("PatientName", "a\nb", "--patient-name"), ("PatientBirthDate", "3.2.1961", "--birth-date"),
        ("PatientSex", "W", "--sex"), ("AccessionNumber", "1" * 17, "--accession"),
        ("StudyInstanceUID", "2.25.x", "--study-uid"), ("StudyDescription", "x" * 65, "--study-description"),
    ],
)  # fmt: skip
def test_a_value_that_the_standard_does_not_allow_is_refused_by_the_name_of_its_option(keyword, value, option):
    with pytest.raises(ValueError, match=option) as caught:
        attributes_from({**PATIENT, keyword: value})
    assert value.strip() in ("", "W") or value not in str(caught.value)


def test_a_study_without_uid_is_a_new_one_each_time():
    first, second = (decode(attributes_from({"PatientID": "P", "StudyInstanceUID": None})) for _ in range(2))
    assert first.StudyInstanceUID != second.StudyInstanceUID
    assert pydicom.uid.UID(first.StudyInstanceUID).is_valid


@given(st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=40))
def test_every_name_comes_back_as_it_was_given(name):
    assert str(decode(attributes_from({**PATIENT, "PatientName": name})).PatientName) == name


def test_encoding_and_decoding_leave_the_bytes_as_they_are():
    attributes = attributes_from(PATIENT)
    assert encode(decode(attributes)) == attributes


def test_bytes_that_are_no_dicom_file_never_raise_anything_else(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "file"
    good = dicom_file(path, **PATIENT).read_bytes()

    @given(st.binary(max_size=300), st.integers(0, len(good)), st.booleans())
    def look(noise: bytes, at: int, whole: bool) -> None:
        path.write_bytes(noise if whole else good[:at] + noise + good[at + len(noise) :])
        try:
            attributes_of(path)
        except ValueError as error:
            assert str(error).startswith("--like")

    look()
