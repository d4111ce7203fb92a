"""The head CT pipeline as the example configures it, through the whole daemon."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from support.built_engines import ROOT
from support.ct_head import REAL_HEAD, TILTED_HEAD, engines_folder, image, write_foot, write_real_series
from support.pacs import wait_until
from support.site import send

from benchmarks.ct_series import Labels, write_ct_series
from benchmarks.daemon import Daemon
from benchmarks.demo import segments_of
from benchmarks.demo_ct import SEEDS
from benchmarks.heads import dice
from converters.reference.phantom import make_phantom

pytestmark = pytest.mark.peer

CONFIG = ROOT / "examples" / "ct-head-triage.yaml"
ENDED = {"delivered", "refused", "parked"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A daemon with the example's pipeline, a short quiet time, and a folder as destination."""
    folder = tmp_path_factory.mktemp("ct")
    overrides = [
        f"engines.path={engines_folder()}",
        "pipelines.ct-head-triage.complete_after_seconds=1.5",
        f"destinations.disk.path={folder / 'out'}",
    ]
    with Daemon(CONFIG, folder / "spool", overrides) as daemon:
        daemon.wait_ready()
        yield daemon, folder / "out"


@pytest.fixture(scope="module")
def phantoms():
    return {name: make_phantom(seed, name, slices=40) for name, seed in SEEDS.items()}


def analyse(site, folder: Path, *proposed: str):
    """Send a folder and wait for the end of its job: the job, and its JSON result or None."""
    daemon, out = site
    before = {job["id"] for job in daemon.jobs()}
    sent = send(folder, daemon.dicom_port, *proposed)
    assert sent.returncode == 0, sent.stderr.decode()

    def new():
        return [job for job in daemon.jobs() if job["id"] not in before]

    wait_until(lambda: new() and all(job["state"] in ENDED for job in new()), 90)
    (job,) = new()
    files = list(out.glob(f"{job['id']}-result.json"))
    return job, json.loads(files[0].read_text()) if files else None


def answers(result, stage):
    return [f["answer"] for f in result["findings"] if f["stage"] == stage]


def outcomes(result):
    return {stage["name"]: stage["outcome"] for stage in result["stages"]}


def test_a_positive_head_gives_every_lesion_as_a_segment_with_volume_and_diameter(site, phantoms, tmp_path):
    phantom = phantoms["positive"]
    paths = write_ct_series(phantom.image, tmp_path / "in", Labels("positive", accession_number="A1"))
    job, result = analyse(site, tmp_path / "in")
    assert job["state"] == "delivered" and result["complete"] and not result["late"]
    assert answers(result, "triage") == ["positive"]
    assert outcomes(result) == {"triage": "ran", "lesions": "ran", "volume": "ran"}
    lesions = [f for f in result["findings"] if f["stage"] == "volume" and f["mask"]]
    assert lesions and len(lesions) == len(result["masks"])
    for finding in lesions:
        values = {m["unit"]["value"]: m["value"] for m in finding["measurements"]}
        assert values["ml"] > 0 and values["mm"] > 0
    seg = site[1] / f"{job['id']}-seg.dcm"
    found = np.any(list(segments_of(seg, paths).values()), axis=0)
    assert dice(found, phantom.truth) > 0.5
    report = subprocess.run(["dcmdump", "+L", str(site[1] / f"{job['id']}-sr.dcm")], capture_output=True, check=True)
    assert b"Maximum 3D Diameter of a Mesh" in report.stdout
    for text in (report.stdout.decode(), json.dumps(result)):
        assert "Not for clinical use" in text and "Trained and evaluated on computed phantoms" in text


@pytest.mark.parametrize("kind", ["sr", "seg", "overlay-1"])
def test_its_objects_are_valid_dicom(site, kind):
    files = list(site[1].glob(f"*-{kind}.dcm"))
    assert files
    for path in files:
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False)
        assert not [line for line in checked.stderr.decode().splitlines() if line.startswith("Error")]


def test_a_negative_head_gives_a_report_that_says_so_and_needs_no_further_stage(site, phantoms, tmp_path):
    write_ct_series(phantoms["negative"].image, tmp_path / "in", Labels("negative"))
    job, result = analyse(site, tmp_path / "in")
    assert job["state"] == "delivered" and result["complete"]
    assert answers(result, "triage") == ["negative"]
    assert outcomes(result) == {"triage": "ran", "lesions": "not_needed", "volume": "not_needed"}
    assert result["masks"] == [] and not list(site[1].glob(f"{job['id']}-seg.dcm"))
    assert list(site[1].glob(f"{job['id']}-sr.dcm"))


def test_real_slices_in_jpeg_2000_go_the_same_way(site, tmp_path):
    write_real_series(REAL_HEAD, tmp_path / "in", 30, (0.0, 0.0, 5.0))
    job, result = analyse(site, tmp_path / "in", "-xw")
    assert job["state"] == "delivered" and result["complete"]
    assert answers(result, "triage")[0] in ("positive", "negative")


def test_a_tilted_gantry_gives_no_volume_and_says_why(site, tmp_path):
    write_real_series(TILTED_HEAD, tmp_path / "in", 20, (0.0, 0.0, 5.0))
    job, result = analyse(site, tmp_path / "in", "-xv")
    assert (job["state"], result) == ("refused", None) and "oblique_shear" in job["reason"]


def test_a_head_with_a_missing_slice_gives_no_volume_and_says_why(site, phantoms, tmp_path):
    paths = write_ct_series(phantoms["positive"].image, tmp_path / "in", Labels("gap"))
    paths[20].unlink()
    job, result = analyse(site, tmp_path / "in")
    assert (job["state"], result) == ("refused", None) and "missing_slices" in job["reason"]


def test_five_slices_are_no_head(site, phantoms, tmp_path):
    for path in write_ct_series(phantoms["negative"].image, tmp_path / "in", Labels("five"))[5:]:
        path.unlink()
    job, result = analyse(site, tmp_path / "in")
    assert (job["state"], result) == ("refused", None) and "minimum_slices" in job["reason"]


def test_a_few_slices_of_a_head_are_not_evaluated_rather_than_negative(site, phantoms, tmp_path):
    paths = write_ct_series(phantoms["negative"].image, tmp_path / "in", Labels("crown"))
    top_down = sorted(paths, key=lambda p: -float(pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2]))
    for path in top_down[11:]:
        path.unlink()
    _, result = analyse(site, tmp_path / "in")
    assert not result["complete"] and set(answers(result, "triage")) == {"not_evaluated"}
    assert set(outcomes(result).values()) == {"failed", "not_evaluated"}


def test_a_foot_labelled_head_is_not_evaluated_rather_than_negative(site, tmp_path):
    write_foot(tmp_path / "in")
    job, result = analyse(site, tmp_path / "in")
    assert job["state"] == "delivered" and not result["complete"]
    assert {f["answer"] for f in result["findings"]} == {"not_evaluated"}
    assert "does not look like" in next(s["reason"] for s in result["stages"] if s["name"] == "triage")


def test_two_thousand_slices_are_analysed_in_windows(site, phantoms, tmp_path):
    """Half a metre, as when the neck and chest are in the series: the brain alone is not what it shows most of."""
    phantom = make_phantom(SEEDS["negative"], "negative", matrix=64, slices=40)
    voxels = np.repeat(phantom.image.voxels, 50, axis=0)
    spacing = phantom.image.geometry.spacing_mm
    write_ct_series(image(voxels, (spacing[0] / 50, *spacing[1:])), tmp_path / "in", Labels("thin"))
    job, result = analyse(site, tmp_path / "in")
    assert job["state"] == "delivered" and result["input_count"] == 2000
    assert result["complete"] and answers(result, "triage")[0] in ("positive", "negative")


def test_two_patients_in_one_study_are_two_results(site, phantoms, tmp_path):
    daemon, out = site
    before = {job["id"] for job in daemon.jobs()}
    for name in ("positive", "negative"):
        labels = Labels(f"shared-{name}", (f"Shared^{name}", name))
        for path in write_ct_series(phantoms[name].image, tmp_path / "in" / name, labels):
            data_set = pydicom.dcmread(path)
            data_set.StudyInstanceUID, data_set.SeriesInstanceUID = "2.25.4711", "2.25.4712"
            data_set.save_as(path)
    assert send(tmp_path / "in", daemon.dicom_port, "+r").returncode == 0

    def new():
        return [job for job in daemon.jobs() if job["id"] not in before]

    wait_until(lambda: len(new()) == 2 and all(job["state"] == "delivered" for job in new()), 90)
    results = [json.loads((out / f"{job['id']}-result.json").read_text()) for job in new()]
    assert sorted(answers(result, "triage")[0] for result in results) == ["negative", "positive"]
    assert {result["input_count"] for result in results} == {40}
