"""What results take from the stored images."""

from __future__ import annotations

import warnings

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from support.report_sources import enhanced_header, geometry, slice_header, store

from edge_runtime.domain import SourceImage
from edge_runtime.errors import ReportFailed
from edge_runtime.report.originals import Original, read_original

SOURCE = SourceImage(MRImageStorage, "2.25.2000")


def read(tmp_path, edit) -> Original:
    header = slice_header(geometry(), 0, MRImageStorage, "MR")
    edit(header)
    return read_original(SOURCE, {"2.25.2000": store(header, tmp_path)})


def copied(tmp_path, edit) -> Dataset:
    """The patient and study module as another program reads it back."""
    target = Dataset()
    read(tmp_path, edit).copy_patient_and_study(target)
    target.SOPClassUID, target.SOPInstanceUID = MRImageStorage, "2.25.9"
    return pydicom.dcmread(store(target, tmp_path))


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Łuczak^Żaneta=脳^太郎"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    ],
)
def test_a_name_survives_in_its_character_set(tmp_path, character_set, name):
    def edit(header):
        header.SpecificCharacterSet = character_set
        header.PatientName = name

    back = copied(tmp_path, edit)
    assert str(back.PatientName) == name
    assert back.SpecificCharacterSet == character_set


def test_missing_type_2_attributes_are_written_empty(tmp_path):
    def edit(header):
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyID",
            "StudyDate",
            "AccessionNumber",
        ):
            delattr(header, keyword)

    back = copied(tmp_path, edit)
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "StudyDate",
        "AccessionNumber",
    ):
        assert keyword in back
        assert not back[keyword].value


def test_a_broken_date_is_copied_as_it_is_and_an_unknown_character_set_does_not_stop_the_copy(tmp_path):
    def edit(header):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header.PatientBirthDate = "1961/2/3"
            header.SpecificCharacterSet = "ISO_IR 999"

    target = Dataset()
    read(tmp_path, edit).copy_patient_and_study(target)
    assert target.get_item("PatientBirthDate").value == b"1961/2/3"
    assert target.get_item("PatientName").value == b"Muster^Eva"


def test_a_sequence_of_the_patient_module_is_copied_in_its_character_set(tmp_path):
    def edit(header):
        header.SpecificCharacterSet = "ISO_IR 100"
        item = Dataset()
        item.PatientID, item.IssuerOfPatientID, item.TypeOfPatientID = "X1", "Köln", "TEXT"
        header.OtherPatientIDsSequence = [item]

    assert copied(tmp_path, edit).OtherPatientIDsSequence[0].IssuerOfPatientID == "Köln"


def test_a_source_without_a_study_is_refused_by_name(tmp_path):
    original = read(tmp_path, lambda header: delattr(header, "StudyInstanceUID"))
    with pytest.raises(ReportFailed, match="StudyInstanceUID"):
        original.uid("StudyInstanceUID")


def test_an_unknown_or_unreadable_image_is_refused_without_naming_it(tmp_path):
    with pytest.raises(ReportFailed, match="not in the spool"):
        read_original(SOURCE, {})
    broken = tmp_path / "x.dcm"
    broken.write_bytes(b"no DICOM at all")
    with pytest.raises(ReportFailed, match="cannot be read") as failure:
        read_original(SOURCE, {"2.25.2000": broken})
    assert "2.25.2000" not in str(failure.value)


@pytest.mark.parametrize("enhanced", [False, True])
def test_an_image_and_a_frame_say_where_they_are(tmp_path, enhanced):
    grid = geometry("oblique")
    header = enhanced_header(grid) if enhanced else slice_header(grid, 0, MRImageStorage, "MR")
    frame = grid.shape[0] if enhanced else None  # the last frame is the first slice
    place = read_original(SOURCE, {"2.25.2000": store(header, tmp_path)}).place(frame)
    assert place is not None
    assert place[0] == pytest.approx(grid.origin_mm)
    assert place[1][0] == pytest.approx(grid.directions[2])
    assert place[1][1] == pytest.approx(grid.directions[1])


def test_a_frame_that_is_not_there_has_no_place(tmp_path):
    header = enhanced_header(geometry())
    assert read_original(SOURCE, {"2.25.2000": store(header, tmp_path)}).place(99) is None
