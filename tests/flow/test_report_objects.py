"""Results as files: written, checked with other programs, and read back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from support import report_sources as sources
from support.report_sources import Case, brain_finding, brain_mask, changed, geometry, radiograph_case, volume_case

from edge_runtime.domain import MANUFACTURER, Analysis, Answer, Finding, StageOutcome
from edge_runtime.errors import ReportFailed
from edge_runtime.report.writer import identify_report, prepare, write_results
from edge_runtime.result_objects import ResultKind

ALL = tuple(ResultKind)
CASES = {
    "MR axial": volume_case,
    "MR sagittal": lambda folder: volume_case(folder, "sagittal"),
    "MR oblique": lambda folder: volume_case(folder, "oblique"),
    "CT axial": lambda folder: volume_case(folder, modality="CT"),
    "MR enhanced": lambda folder: volume_case(folder, "oblique", enhanced=True),
    "CR": radiograph_case,
}


@pytest.fixture
def place(tmp_path) -> Path:
    for name in ("in", "out", "again"):
        (tmp_path / name).mkdir()
    return tmp_path


def write(case: Case, folder: Path, kinds=ALL, predecessor=None) -> dict[str, Path]:
    objects = write_results(case.result, kinds, case.originals, predecessor, folder)
    return {one.file_name: folder / one.file_name for one in objects}


def texts(item: Any) -> list[str]:
    """Every text of a report's content tree."""
    found = [item.TextValue] if "TextValue" in item else []
    return found + [text for child in item.get("ContentSequence", []) for text in texts(child)]


def groups(report: Any) -> list[Any]:
    container = next(i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    return list(container.ContentSequence)


def named(group: Any, code: str) -> list[Any]:
    return [item for item in group.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == code]


def answer(group: Any, concept: str) -> str:
    return str(named(group, concept)[0].ConceptCodeSequence[0].CodeMeaning)


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
@pytest.mark.parametrize("name", CASES)
def test_dciodvfy_finds_no_error_and_dcmtk_reads_every_object(place, name):
    files = write(CASES[name](place / "in"), place / "out")
    assert set(files) >= {"sr.dcm", "overlay-1.dcm", "result.json"}
    assert ("seg.dcm" in files) == (name != "CR")
    for path in (path for path in files.values() if path.suffix == ".dcm"):
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        said = checked.stdout + checked.stderr
        assert said.strip()
        assert "Error" not in said
        subprocess.run(["dcmdump", str(path)], capture_output=True, check=True)
    dumped = subprocess.run(["dsrdump", str(files["sr.dcm"])], capture_output=True, text=True, check=True)
    assert "Imaging Measurement Report" in dumped.stdout


@pytest.mark.parametrize("name", [name for name in CASES if name != "CR"])
def test_the_segmentation_has_the_masks_voxels_at_the_places_of_the_source(place, name):
    case = CASES[name](place / "in")
    grid, mask = case.result.geometry, case.result.analysis.masks[0]
    assert grid is not None
    dataset = pydicom.dcmread(write(case, place / "out")["seg.dcm"])
    pixels = dataset.pixel_array.reshape(-1, *grid.shape[1:])
    seen = np.zeros(grid.shape, dtype=np.bool_)
    for plane, group in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.asarray(group.PlanePositionSequence[0].ImagePositionPatient, dtype=np.float64)
        distances = [np.linalg.norm(position - grid.position_mm((k, 0, 0))) for k in range(grid.shape[0])]
        index = int(np.argmin(distances))
        assert distances[index] < 1e-6
        seen[index] = plane
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        want = case.result.sources[index]
        assert source.ReferencedSOPInstanceUID == want.sop_instance_uid
        assert source.ReferencedSOPClassUID == want.sop_class_uid
        assert source.get("ReferencedFrameNumber") == want.frame_number
    assert np.array_equal(seen, mask.voxels)
    assert len(pixels) == int(mask.voxels.any(axis=(1, 2)).sum())
    shared = dataset.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert orientation == pytest.approx([*grid.directions[2], *grid.directions[1]])
    assert shared.PixelMeasuresSequence[0].PixelSpacing == pytest.approx(grid.spacing_mm[1:])
    assert dataset.FrameOfReferenceUID == sources.FRAME_OF_REFERENCE_UID
    assert dataset.SegmentationType == "BINARY"
    assert dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Brain"


def test_highdicom_reads_the_segmentation_as_the_same_volume(place):
    case = volume_case(place / "in", "oblique")
    seg = highdicom.seg.segread(write(case, place / "out")["seg.dcm"])
    uids = [source.sop_instance_uid for source in case.result.sources]
    back = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True, combine_segments=True)
    assert np.array_equal(back.astype(np.bool_), case.result.analysis.masks[0].voxels)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_several_segments_keep_their_numbers_whether_they_overlap_or_not(place, shift):
    case = volume_case(place / "in", shape=(12, 24, 24))
    grid = case.result.geometry
    assert grid is not None
    first = brain_mask(grid, 1, "first")
    second = brain_mask(grid, 2, "second", shift) if shift else replace(first, number=2, voxels=~first.voxels)
    assert (first.voxels & second.voxels).any() == bool(shift)
    analysis = Analysis(case.result.analysis.stages, (), (second, first))
    files = write(changed(case, analysis=analysis), place / "out")
    seg = highdicom.seg.segread(files["seg.dcm"])
    uids = [source.sop_instance_uid for source in case.result.sources]
    back = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    assert np.array_equal(back[..., 0].astype(np.bool_), first.voxels)
    assert np.array_equal(back[..., 1].astype(np.bool_), second.voxels)
    report = pydicom.dcmread(files["sr.dcm"])
    referenced = [
        named(group, "121191")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber for group in groups(report)
    ]
    assert referenced == [2, 1]


def all_references(dataset: Any) -> set[str]:
    return {str(e.value) for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}


@pytest.mark.parametrize("name", CASES)
def test_results_name_only_objects_that_exist(place, name):
    case = CASES[name](place / "in")
    files = write(case, place / "out")
    datasets = {n: pydicom.dcmread(p) for n, p in files.items() if p.suffix == ".dcm"}
    known = {one.sop_instance_uid for one in case.result.inputs}
    own = {str(dataset.SOPInstanceUID) for dataset in datasets.values()}
    assert len(own) == len(datasets)
    for dataset in datasets.values():
        assert all_references(dataset) <= known | own
    assert known <= all_references(datasets["sr.dcm"])


@pytest.mark.parametrize("name", CASES)
def test_results_stand_in_the_study_of_the_images_in_series_of_their_own(place, name):
    case = CASES[name](place / "in")
    datasets = [pydicom.dcmread(p) for p in write(case, place / "out").values() if p.suffix == ".dcm"]
    series: dict[str, set[str]] = {}
    for dataset in datasets:
        assert dataset.StudyInstanceUID == sources.STUDY_UID
        assert (str(dataset.PatientName), dataset.PatientID) == ("Muster^Eva", "P-77")
        assert (dataset.StudyDate, dataset.StudyTime) == ("20261101", "081500")
        assert (dataset.ContentDate, dataset.ContentTime) == ("20261118", "110640.250000")
        assert dataset.TimezoneOffsetFromUTC == "+0000"
        assert dataset.Manufacturer == MANUFACTURER
        assert MANUFACTURER in [item.Manufacturer for item in dataset.ContributingEquipmentSequence]
        assert "highdicom" not in str(dataset.ContributingEquipmentSequence)
        series.setdefault(str(dataset.Modality), set()).add(str(dataset.SeriesInstanceUID))
    assert all(len(uids) == 1 for uids in series.values())
    assert len(set.union(*series.values())) == len(series)
    assert sources.SERIES_UID not in set.union(*series.values())


def test_times_are_told_in_the_zone_that_the_images_name(place):
    def edit(header):
        header.TimezoneOffsetFromUTC = "+0200"

    dataset = pydicom.dcmread(write(volume_case(place / "in", edit=edit), place / "out")["sr.dcm"])
    assert (dataset.TimezoneOffsetFromUTC, dataset.ContentTime) == ("+0200", "130640.250000")


def test_the_originals_are_not_touched(place):
    case = volume_case(place / "in")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in case.originals.values()}
    write(case, place / "out")
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in case.originals.values()}


def test_the_report_says_what_was_found_by_what_and_how_sure(place):
    case = volume_case(place / "in")
    files = write(case, place / "out")
    report = pydicom.dcmread(files["sr.dcm"])
    seg = pydicom.dcmread(files["seg.dcm"], stop_before_pixels=True)
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    (group,) = groups(report)
    mask = case.result.analysis.masks[0]
    volume = named(group, "118565006")
    assert len(volume) == 1
    measured = volume[0].MeasuredValueSequence[0]
    assert measured.MeasurementUnitsCodeSequence[0].CodeValue == "ml"
    assert float(measured.NumericValue) == pytest.approx(np.count_nonzero(mask.voxels) * 2.5 * 0.9 * 1.1 / 1000)
    assert float(named(group, "122157")[0].MeasuredValueSequence[0].NumericValue) == 0.875
    assert answer(group, "12738006") == "Positive"
    segment = named(group, "121191")[0].ReferencedSOPSequence[0]
    assert segment.ReferencedSOPInstanceUID == seg.SOPInstanceUID
    assert segment.ReferencedSegmentNumber == 1
    assert seg.SegmentSequence[0].TrackingUID == named(group, "112040")[0].UID
    said = texts(report)
    for words in ("ab" * 32, "fp32", "onnxruntime", "threshold=0.5", "research only, not for clinical use",
                  "6 images seen; none for 5 s", "threshold of brain is 0.5, the card says 0.4"):  # fmt: skip
        assert any(words in text for text in said), words
    highdicom.sr.srread(files["sr.dcm"])


def test_a_measured_volume_is_not_given_twice_and_a_missing_one_is_computed(place):
    case = volume_case(place / "in")
    grid, mask = case.result.geometry, case.result.analysis.masks[0]
    assert grid is not None
    bare = replace(brain_finding(mask, grid), measurements=())
    report = pydicom.dcmread(
        write(changed(case, analysis=replace(case.result.analysis, findings=(bare,))), place / "out")["sr.dcm"]
    )
    assert len(named(groups(report)[0], "118565006")) == 1


@pytest.mark.parametrize(
    ("given", "written"),
    [(Answer.POSITIVE, "Positive"), (Answer.NEGATIVE, "Negative"), (Answer.NOT_EVALUATED, "Not Evaluated")],
)
def test_each_answer_has_its_own_code_and_only_a_positive_one_is_a_finding(place, given, written):
    case = volume_case(place / "in")
    finding = Finding("brain", "hemorrhage", sources.HEMORRHAGE, given)
    analysis = replace(case.result.analysis, findings=(finding,), masks=())
    report = pydicom.dcmread(write(changed(case, analysis=analysis), place / "out")["sr.dcm"])
    (group,) = groups(report)
    assert answer(group, "1386000") == written
    assert bool(named(group, "121071")) == (given is Answer.POSITIVE)


@pytest.mark.parametrize("outcome", [StageOutcome.SKIPPED, StageOutcome.FAILED, StageOutcome.NOT_EVALUATED])
def test_a_stage_without_answer_makes_the_result_incomplete_and_never_negative(place, outcome):
    case = volume_case(place / "in")
    record = sources.record("volume", outcome, "deadline: 3 s needed, 1 s left")
    analysis = replace(case.result.analysis, stages=(*case.result.analysis.stages, record))
    files = write(changed(case, analysis=analysis), place / "out")
    report = pydicom.dcmread(files["sr.dcm"])
    assert report.CompletionFlag == "PARTIAL"
    silent = next(g for g in groups(report) if named(g, "112039")[0].TextValue == "volume stage")
    assert answer(silent, "121071") == "Not Evaluated"
    assert "Negative" not in str(silent)
    assert any("deadline: 3 s needed, 1 s left" in text for text in texts(report))
    assert any(text.startswith("INCOMPLETE") for text in texts(report))
    assert "INCOMPLETE" in pydicom.dcmread(files["overlay-1.dcm"]).ImageComments
    document = json.loads(files["result.json"].read_text())
    assert document["complete"] is False
    assert document["stages"][1]["reason"] == "deadline: 3 s needed, 1 s left"


def test_a_stage_that_was_not_needed_leaves_the_result_complete_and_is_no_negative(place):
    case = volume_case(place / "in")
    record = sources.record("volume", StageOutcome.NOT_NEEDED, "brain.brain is negative")
    analysis = replace(case.result.analysis, stages=(*case.result.analysis.stages, record))
    report = pydicom.dcmread(write(changed(case, analysis=analysis), place / "out")["sr.dcm"])
    assert report.CompletionFlag == "COMPLETE"
    assert any("volume: not needed (brain.brain is negative)" in text for text in texts(report))
    assert "Negative" not in str(groups(report))


def warned(overlay: Any) -> int:
    """The number of pixels in the colour of warnings."""
    return int((overlay.pixel_array == (255, 176, 0)).all(axis=-1).sum())


def test_a_late_result_says_so_everywhere(place):
    case = volume_case(place / "in")
    files = write(changed(case, deadline_at=case.result.concluded_at - 12.5), place / "out")
    late = "LATE: concluded 12.5 s after its deadline"
    assert late in texts(pydicom.dcmread(files["sr.dcm"]))
    overlay = pydicom.dcmread(files["overlay-1.dcm"])
    assert late in overlay.ImageComments
    in_time = pydicom.dcmread(write(case, place / "again")["overlay-1.dcm"])
    assert warned(overlay) > warned(in_time) > 0
    assert json.loads(files["result.json"].read_text())["late"] is True


def test_a_revision_names_the_report_that_it_replaces(place):
    case = volume_case(place / "in")
    first = write(case, place / "out")
    before = identify_report(first["sr.dcm"])
    second = write(changed(case, revision=2), place / "again", predecessor=before)
    report, old = pydicom.dcmread(second["sr.dcm"]), pydicom.dcmread(first["sr.dcm"])
    item = report.PredecessorDocumentsSequence[0]
    reference = item.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert item.StudyInstanceUID == old.StudyInstanceUID
    assert item.ReferencedSeriesSequence[0].SeriesInstanceUID == old.SeriesInstanceUID
    assert reference.ReferencedSOPInstanceUID == old.SOPInstanceUID == before.sop_instance_uid
    assert reference.ReferencedSOPClassUID == old.SOPClassUID
    assert report.SOPInstanceUID != old.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in old


def test_the_overlay_shows_the_key_image_with_the_outline_and_refers_to_its_source(place):
    case = volume_case(place / "in")
    files = write(case, place / "out")
    assert "overlay-2.dcm" in files
    dataset = pydicom.dcmread(files["overlay-1.dcm"])
    key = case.result.key_images[0]
    source = dataset.SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == case.result.sources[key.slice_index].sop_instance_uid
    assert (dataset.ConversionType, dataset.BurnedInAnnotation) == ("WSD", "NO")
    assert "NOT FOR DIAGNOSIS - UNVERIFIED AI RESULT" in dataset.DerivationDescription
    assert dataset.PatientOrientation == ["L", "P"]
    pixels = dataset.pixel_array
    red = (pixels == (255, 64, 64)).all(axis=-1)
    bare = changed(case, analysis=replace(case.result.analysis, masks=(), findings=()))
    other = pydicom.dcmread(write(bare, place / "again")["overlay-1.dcm"]).pixel_array
    assert red.sum() > 100
    assert not (other == (255, 64, 64)).all(axis=-1).any()


def test_what_the_source_says_of_burned_in_text_and_lossy_compression_is_kept(place):
    def edit(header):
        header.BurnedInAnnotation = "YES"
        header.LossyImageCompression = "01"
        header.LossyImageCompressionRatio = [10, 2]
        header.LossyImageCompressionMethod = ["ISO_10918_1", "ISO_15444_1"]

    files = write(volume_case(place / "in", edit=edit), place / "out")
    dataset = pydicom.dcmread(files["overlay-1.dcm"])
    assert dataset.BurnedInAnnotation == "YES"
    assert dataset.LossyImageCompression == "01"
    assert list(dataset.LossyImageCompressionRatio) == [10, 2]
    assert pydicom.dcmread(files["seg.dcm"]).LossyImageCompression == "01"


def test_a_radiograph_without_masks_gives_report_and_overlay_and_says_why_no_segmentation(place):
    files = write(radiograph_case(place / "in"), place / "out")
    assert set(files) == {"sr.dcm", "overlay-1.dcm", "result.json"}
    report = pydicom.dcmread(files["sr.dcm"])
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"
    negative, positive = groups(report)
    assert answer(negative, "36118008") == "Negative"
    region = named(positive, "111030")[0]
    assert list(region.GraphicData) == [6, 5, 26, 5, 26, 15, 6, 15, 6, 5]
    image = region.ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPInstanceUID == "2.25.3000"
    assert "No segmentation object: no stage gave a mask" in texts(report)
    assert json.loads(files["result.json"].read_text())["no_segmentation"] == "no stage gave a mask"
    assert pydicom.dcmread(files["overlay-1.dcm"]).PatientOrientation == ["L", "F"]


def test_without_key_image_an_overlay_still_tells_the_result(place):
    case = changed(radiograph_case(place / "in"), key_images=())
    dataset = pydicom.dcmread(write(case, place / "out")["overlay-1.dcm"])
    assert dataset.pixel_array.any()
    assert "SourceImageSequence" not in dataset


def test_empty_masks_give_no_segmentation_but_a_volume_of_zero(place):
    case = volume_case(place / "in")
    grid = case.result.geometry
    assert grid is not None
    empty = replace(case.result.analysis.masks[0], voxels=np.zeros(grid.shape, dtype=np.bool_))
    analysis = Analysis(case.result.analysis.stages, (brain_finding(empty, grid, Answer.NEGATIVE),), (empty,))
    files = write(changed(case, analysis=analysis), place / "out")
    assert "seg.dcm" not in files
    report = pydicom.dcmread(files["sr.dcm"])
    assert "No segmentation object: every mask is empty" in texts(report)
    assert float(named(groups(report)[0], "118565006")[0].MeasuredValueSequence[0].NumericValue) == 0


def test_only_the_kinds_that_were_asked_for_are_written(place):
    files = write(volume_case(place / "in"), place / "out", kinds=(ResultKind.SR,))
    assert set(files) == {"sr.dcm"} == set(os.listdir(place / "out"))
    assert "121191" not in str(groups(pydicom.dcmread(files["sr.dcm"])))


def test_files_are_private_and_their_hashes_are_told(place):
    case = volume_case(place / "in")
    objects = write_results(case.result, ALL, case.originals, None, place / "out")
    assert {one.file_name for one in objects} == set(os.listdir(place / "out"))
    for one in objects:
        path = place / "out" / one.file_name
        assert path.stat().st_mode & 0o777 == 0o600
        assert hashlib.sha256(path.read_bytes()).hexdigest() == one.sha256
        if one.kind is not ResultKind.JSON:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            assert (dataset.SOPClassUID, dataset.SOPInstanceUID) == (one.sop_class_uid, one.sop_instance_uid)
            assert dataset.file_meta.MediaStorageSOPInstanceUID == one.sop_instance_uid


def test_the_json_lists_the_objects_and_what_they_say(place):
    case = volume_case(place / "in")
    objects = write_results(case.result, ALL, case.originals, None, place / "out")
    document = json.loads((place / "out" / "result.json").read_text())
    assert document["schema_version"] == 1
    assert {(o["file"], o["sha256"], o["sop_instance_uid"]) for o in document["objects"]} == {
        (o.file_name, o.sha256, o.sop_instance_uid) for o in objects if o.kind is not ResultKind.JSON
    }
    assert document["times"]["concluded"] == "2026-11-18T11:06:40.250000Z"
    assert document["masks"][0]["voxels"] == int(case.result.analysis.masks[0].voxels.sum())
    assert document["findings"][0]["answer"] == "positive"
    assert document["stages"][0]["engine"]["sha256"] == "ab" * 32
    assert document["study_instance_uid"] == sources.STUDY_UID


def test_the_document_names_every_key_of_the_json(place):
    document = json.loads(write(volume_case(place / "in"), place / "out")["result.json"].read_text())
    described = (Path(__file__).parents[2] / "docs" / "dicom-results.md").read_text()
    assert len(document) > 15
    inner = [*document["times"], *document["stages"][0], *document["stages"][0]["engine"], *document["findings"][0],
             *document["masks"][0], *document["objects"][0]]  # fmt: skip
    for key in (*document, *inner):
        assert f"`{key}" in described, key


REWRITE = """
import json, sys
from pathlib import Path
from edge_runtime.result_objects import ResultKind
from edge_runtime.report.writer import write_results
from edge_runtime.spool.results import load_result
originals = {uid: Path(path) for uid, path in json.loads(sys.argv[3]).items()}
write_results(load_result(Path(sys.argv[1])), list(ResultKind), originals, None, Path(sys.argv[2]))
"""


@pytest.mark.parametrize("name", ["MR oblique", "MR enhanced", "CR"])
def test_another_process_with_another_hash_seed_and_time_zone_writes_the_same_bytes(place, name):
    from edge_runtime.spool.results import save_result

    case = CASES[name](place / "in")
    (place / "saved").mkdir()
    save_result(case.result, place / "saved")
    files = write(case, place / "out")
    originals = json.dumps({uid: str(path) for uid, path in case.originals.items()})
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": root}
    command = [sys.executable, "-c", REWRITE, str(place / "saved"), str(place / "again"), originals]
    subprocess.run(command, env=environment, check=True)
    assert set(os.listdir(place / "again")) == set(files)
    for file_name, path in files.items():
        assert path.read_bytes() == (place / "again" / file_name).read_bytes(), file_name


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Łuczak^Żaneta"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_the_patients_name_survives_in_every_object(place, character_set, name):
    def edit(header):
        header.SpecificCharacterSet = character_set
        header.PatientName = name

    case = volume_case(place / "in", edit=edit)
    case = changed(case, notes=("größer als erwartet 脳",))
    for path in write(case, place / "out").values():
        if path.suffix == ".dcm":
            assert str(pydicom.dcmread(path).PatientName) == name


def broken(header: Any) -> None:
    for keyword in ("PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "Manufacturer"):
        delattr(header, keyword)
    for keyword, vr, value in (
        ("StudyDate", "DA", "Nov 1st"), ("StudyTime", "TM", "noon"), ("SliceThickness", "DS", "thin"),
        ("PatientAge", "AS", "old"), ("TimezoneOffsetFromUTC", "SH", "CET"),
        ("SpecificCharacterSet", "CS", "ISO_IR 999"),
    ):  # fmt: skip
        tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(keyword))
        data = value.encode() + b" " * (len(value) % 2)
        header[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(data), data, 0, False, True)


def test_missing_and_broken_optional_values_of_the_source_do_not_stop_a_result(place, recwarn):
    case = volume_case(place / "in", edit=broken)
    files = write(case, place / "out")
    assert set(files) >= {"seg.dcm", "sr.dcm", "overlay-1.dcm", "result.json"}
    assert not [str(warning.message) for warning in recwarn]
    for path in files.values():
        if path.suffix == ".dcm":
            header = subprocess.run(["dcmdump", str(path)], capture_output=True, check=False)
            assert b"Nov 1st" in header.stdout


def test_a_failure_names_no_patient(place):
    case = volume_case(place / "in", edit=lambda header: setattr(header, "Rows", 7))
    with pytest.raises(ReportFailed) as failure:
        write(case, place / "out")
    assert "j-000001" in str(failure.value)
    for secret in ("Muster", "P-77", "2.25.", "1961"):
        assert secret not in str(failure.value)


def test_a_mask_that_is_not_on_the_grid_of_its_source_is_never_written(place):
    case = volume_case(place / "in")
    grid = geometry()
    flipped = replace(grid, origin_mm=grid.position_mm((5, 0, 0)), directions=((0.0, 0.0, -1.0), *grid.directions[1:]))
    moved = replace(grid, origin_mm=(grid.origin_mm[0] + 5, *grid.origin_mm[1:]))
    turned = replace(grid, directions=(grid.directions[0], grid.directions[2], grid.directions[1]))
    for wrong in (flipped, moved, turned):
        with pytest.raises(ReportFailed, match=r"grid|place"):
            write(changed(case, geometry=wrong), place / "out")
        assert not os.listdir(place / "out")


def test_segment_numbers_with_a_gap_are_refused(place):
    case = volume_case(place / "in")
    third = replace(case.result.analysis.masks[0], number=3)
    with pytest.raises(ReportFailed, match="numbered 1 to 1"):
        write(changed(case, analysis=replace(case.result.analysis, masks=(third,))), place / "out")


def test_one_slice_alone_can_be_segmented(place):
    case = volume_case(place / "in", shape=(1, 20, 24))
    dataset = pydicom.dcmread(write(case, place / "out")["seg.dcm"])
    assert np.array_equal(dataset.pixel_array.reshape(20, 24), case.result.analysis.masks[0].voxels[0])


def test_a_folder_that_holds_anything_is_refused(place):
    case = volume_case(place / "in")
    (place / "out" / "x").write_text("")
    with pytest.raises(ReportFailed, match="not empty"):
        write(case, place / "out")


def test_a_job_without_any_finding_still_gives_a_report(place):
    case = volume_case(place / "in")
    failed = Analysis((sources.record("brain", StageOutcome.FAILED, "gave NaN"),), (), ())
    report = pydicom.dcmread(write(changed(case, analysis=failed), place / "out")["sr.dcm"])
    assert report.CompletionFlag == "PARTIAL"
    (group,) = groups(report)
    assert answer(group, "121071") == "Not Evaluated"


def test_identify_report_refuses_what_is_no_report(place):
    (place / "sr.dcm").write_bytes(b"nothing")
    with pytest.raises(ReportFailed, match="cannot be read"):
        identify_report(place / "sr.dcm")


def test_preparing_writes_nothing_and_may_be_repeated():
    prepare()
    prepare()
