"""The series of a site: whose patient they name, and which pipeline takes them."""

import pytest
from support.site import ball_series, save_series

from benchmarks.acceptance.series import callers_of, load, stand_in_patient, why_not
from benchmarks.record import BenchFailed
from benchmarks.slices import read_series
from edge_runtime.config import Caller, Config, DicomReceive, Match, Pipeline, Receive, Spool, Stage

IDENTITY = {
    "PatientName": "Zz^Q", "PatientID": "PID-7", "PatientBirthDate": "19500101", "AccessionNumber": "ACC-4",
    "ReferringPhysicianName": "Dr^Who", "OtherPatientIDs": "PID-8", "InstitutionName": "St Elsewhere",
}  # fmt: skip


def site(match, callers=None):
    pipeline = Pipeline("ct", (Stage("a", "a"),), match)
    return pipeline, Config(Spool("/x"), (pipeline,), Receive(DicomReceive(callers=callers)))


def test_a_series_of_the_site_is_sent_of_a_stand_in_patient_with_the_same_pixels():
    one = ball_series("private", **IDENTITY)[0]
    one.PatientSex = "F"
    one.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "PID-7")
    pixels = one.PixelData
    text = str(stand_in_patient(one))
    for value in IDENTITY.values():
        assert value not in text
    assert (one.PatientID, one.PatientSex, one.PixelData) == ("ACCEPTANCE", "F", pixels)


def test_a_folder_of_two_series_is_refused(tmp_path):
    save_series([*ball_series("one", slices=2), *ball_series("two", slices=2)], tmp_path / "s")
    with pytest.raises(BenchFailed, match="2 series"):
        load(str(tmp_path / "s"), tmp_path / "work")


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        (Match(modality=("CT",)), None),
        (Match(modality=("MR",)), "modality"),
        (Match(minimum_slices=9), "minimum_slices"),
        (Match(calling_ae_title=("CT01",)), None),
    ],
)
def test_whether_a_pipeline_takes_a_series_is_known_beforehand(tmp_path, match, reason):
    pipeline, config = site(match)
    save_series(ball_series("x"), tmp_path / "x")
    series = read_series(tmp_path / "x")
    assert why_not(series, pipeline, callers_of(pipeline, config), tmp_path / "one") == reason


def test_the_sender_calls_itself_what_receiver_and_pipeline_let_in():
    callers = (Caller("CT01", ("10.0.0.1",)), Caller("CT02", ("10.0.0.2",)))
    assert callers_of(*site(Match(), callers)).calling == "CT01"
    assert callers_of(*site(Match(calling_ae_title=("ct02",)), callers)).calling == "CT02"
    assert callers_of(*site(Match(calling_ae_title=("CT09",)))).calling == "CT09"
    with pytest.raises(BenchFailed, match="calling_ae_title"):
        callers_of(*site(Match(calling_ae_title=("CT09",)), callers))


def test_a_folder_with_a_file_that_cannot_be_sent_is_refused_and_the_file_named(tmp_path):
    save_series(ball_series("one", slices=2), tmp_path / "s")
    (tmp_path / "s" / "zz.dcm").write_bytes(b"no DICOM")
    with pytest.raises(BenchFailed, match=r"zz\.dcm cannot be sent"):
        load(str(tmp_path / "s"), tmp_path / "work")


def test_a_folder_that_holds_an_instance_twice_is_refused(tmp_path):
    """Its copies are one instance for the receiver, so what arrived could not be counted."""
    save_series(ball_series("one", slices=2), tmp_path / "s")
    (tmp_path / "s" / "zz.dcm").write_bytes(min((tmp_path / "s").iterdir()).read_bytes())
    with pytest.raises(BenchFailed, match="an instance twice"):
        load(str(tmp_path / "s"), tmp_path / "work")
