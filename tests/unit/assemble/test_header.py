import logging
import zlib

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from support.dicom_objects import NATIVE_SYNTAXES, ct_series, picture, save

from edge_runtime.assemble.header import read_header
from edge_runtime.domain import MANUFACTURER
from edge_runtime.errors import DecodeRefused


def slice_of(**attributes):
    return ct_series(np.zeros((1, 4, 6), int), **attributes)[0]


def refusal(path):
    with pytest.raises(DecodeRefused) as caught:
        read_header(path)
    assert caught.value.reason == "unreadable_header"
    return str(caught.value)


@pytest.mark.parametrize("syntax", NATIVE_SYNTAXES)
def test_a_header_says_the_same_in_every_native_syntax(tmp_path, syntax):
    data_set = slice_of(SeriesDescription="Kopf nativ 5mm")
    header = read_header(save(data_set, tmp_path / "a.dcm", syntax))
    assert header.transfer_syntax_uid == syntax
    assert (header.study_instance_uid, header.series_instance_uid) == (
        data_set.StudyInstanceUID,
        data_set.SeriesInstanceUID,
    )
    assert (header.sop_class_uid, header.sop_instance_uid) == (data_set.SOPClassUID, data_set.SOPInstanceUID)
    assert (header.modality, header.body_part, header.series_description) == ("CT", "HEAD", "Kopf nativ 5mm")
    assert header.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert (header.rows, header.columns, header.number_of_frames) == (4, 6, 1)
    assert header.has_pixels and not header.own_result
    assert header.burned_in_annotation is False
    assert header.accession_number == "TEST-0001"


@pytest.mark.parametrize("keyword", ["PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate"])
def test_patients_who_differ_in_one_attribute_have_different_keys(tmp_path, keyword):
    one = read_header(save(slice_of(), tmp_path / "1.dcm"))
    same = read_header(save(slice_of(InstanceNumber=7), tmp_path / "2.dcm"))
    other = read_header(save(slice_of(**{keyword: "19991231"}), tmp_path / "3.dcm"))
    assert one.patient_key == same.patient_key
    assert one.patient_key != other.patient_key
    assert len(one.patient_key) == 64


def test_a_name_spelled_in_two_character_sets_is_one_patient(tmp_path):
    keys = set()
    for character_set in ("ISO_IR 100", "ISO_IR 192"):
        data_set = slice_of(SpecificCharacterSet=character_set, PatientName="Müller^Jörg")
        keys.add(read_header(save(data_set, tmp_path / "a.dcm")).patient_key)
    assert len(keys) == 1


def test_an_object_of_ours_is_recognised_by_its_contributing_equipment(tmp_path):
    equipment = Dataset()
    equipment.Manufacturer = MANUFACTURER
    data_set = slice_of(ContributingEquipmentSequence=Sequence([equipment]))
    assert read_header(save(data_set, tmp_path / "a.dcm")).own_result


def test_the_body_part_may_stand_in_the_anatomic_region(tmp_path):
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "69536005", "SCT", "Head"
    data_set = slice_of(BodyPartExamined=None, AnatomicRegionSequence=Sequence([region]))
    assert read_header(save(data_set, tmp_path / "a.dcm")).body_part == "Head"


@pytest.mark.parametrize("value, said", [("YES", True), ("NO", False), ("MAYBE", None), (None, None)])
def test_burned_in_annotation_is_unknown_unless_it_is_said(tmp_path, value, said):
    path = save(slice_of(BurnedInAnnotation=value), tmp_path / "a.dcm")
    assert read_header(path).burned_in_annotation is said


def test_an_unknown_character_set_is_read_and_nothing_is_logged(tmp_path, caplog, recwarn):
    data_set = slice_of(PatientName="Synthetic^Phantom")
    path = save(data_set, tmp_path / "a.dcm")
    broken = path.read_bytes().replace(b"ISO_IR 192", b"ISO_IR 999").replace(b"Synthetic^", b"Synth\xfftic^")
    path.write_bytes(broken)
    with caplog.at_level(logging.DEBUG):
        header = read_header(path)
    assert header.modality == "CT"
    assert not caplog.records
    assert not recwarn.list


def test_a_header_of_megabytes_is_read_whole(tmp_path):
    data_set = slice_of()
    data_set.add_new(0x00091010, "OB", b"\x01" * 1_000_001)
    data_set.add_new(0x00090010, "LO", "VENDOR")
    assert read_header(save(data_set, tmp_path / "a.dcm")).rows == 4


def test_an_element_of_more_than_the_limit_is_refused_without_being_read(tmp_path):
    path = save(slice_of(), tmp_path / "a.dcm")
    start = path.read_bytes().index(b"\x10\x00\x10\x00PN")
    with path.open("r+b") as file:  # a private element of 3 GB, most of it a hole in the file
        file.truncate(start)
        file.seek(start)
        file.write(b"\x09\x00\x10\x10OB\x00\x00" + (3_000_000_000).to_bytes(4, "little"))
        file.truncate(start + 3_000_000_012)
    assert "bytes" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"DICM", b"\0" * 128 + b"DICM", b"GIF89a" * 100, b"\0" * 128 + b"DICM" + b"\xff" * 500]
)
def test_what_is_no_dicom_file_is_refused(tmp_path, content):
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    refusal(path)


def test_a_missing_file_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.dcm")


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_a_missing_uid_is_refused_by_its_name(tmp_path, keyword):
    path = save(slice_of(), tmp_path / "a.dcm")
    uid = getattr(slice_of(), keyword).encode()
    path.write_bytes(path.read_bytes()[:400] + path.read_bytes()[400:].replace(uid, b" " * len(uid)))
    content = path.read_bytes()
    head, tail = content[:132], content[132:]
    path.write_bytes(head + tail.replace(uid, b" " * len(uid)))
    assert keyword in refusal(path)


def test_a_uid_that_is_too_long_is_refused_and_not_quoted(tmp_path):
    path = save(slice_of(), tmp_path / "a.dcm")
    uid = slice_of().SeriesInstanceUID
    old = b"UI" + (len(uid) + len(uid) % 2).to_bytes(2, "little") + uid.encode() + b"\0" * (len(uid) % 2)
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, b"UI" + (70).to_bytes(2, "little") + b"1.2" + b"3" * 67))
    message = refusal(path)
    assert "SeriesInstanceUID" in message and "333" not in message


def test_every_truncation_gives_a_header_or_a_refusal(tmp_path):
    whole = save(picture(np.zeros((2, 2), np.uint8)), tmp_path / "a.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    outcomes = set()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        try:
            outcomes.add(read_header(path).has_pixels)
        except DecodeRefused as refused:
            outcomes.add(refused.reason)
    assert outcomes >= {"unreadable_header", False}


@pytest.mark.parametrize("undefined_length", [True, False])
def test_sequences_nested_ten_thousand_deep_do_not_crash(tmp_path, undefined_length):
    path = save(slice_of(), tmp_path / "a.dcm")
    content = path.read_bytes()
    at = content.index(b"\x10\x00\x10\x00PN")
    nested = b""
    if undefined_length:
        nested = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 10_000
    else:
        for _ in range(2_000):
            item = b"\xfe\xff\x00\xe0" + len(nested).to_bytes(4, "little") + nested
            nested = b"\x08\x00\x15\x11SQ\0\0" + len(item).to_bytes(4, "little") + item
    path.write_bytes(content[:at] + nested + content[at:])
    try:
        assert read_header(path).modality == "CT"
    except DecodeRefused as refused:
        assert refused.reason == "unreadable_header"


def test_a_deflate_bomb_is_inflated_no_further_than_the_limit(tmp_path):
    path = save(slice_of(), tmp_path / "a.dcm", NATIVE_SYNTAXES[-1])
    content = path.read_bytes()
    meta_end = 144 + int.from_bytes(content[140:144], "little")
    inflated = zlib.decompress(content[meta_end:], -15)
    at = inflated.index(b"\x10\x00\x10\x00PN")
    bomb = zlib.compressobj(9, wbits=-15)
    packed = bomb.compress(inflated[:at] + b"\x09\x00\x10\x10OB\x00\x00\x00\x00\x00\x40")
    packed += b"".join(bomb.compress(b"\0" * 10_000_000) for _ in range(30))
    path.write_bytes(content[:meta_end] + packed + bomb.flush())
    assert path.stat().st_size < 400_000
    refusal(path)
