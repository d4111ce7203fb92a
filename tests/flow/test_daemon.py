"""The whole daemon, as a site runs it: the command, real peers, results at real destinations."""

import hashlib
import json
import re
import time
from pathlib import Path

import pydicom
import pytest
from support.pacs import orthanc, wait_until
from support.site import PATIENT_ID, PATIENT_NAME, ball_series, save_series, send, send_series, write_config

from benchmarks.daemon import Daemon

pytestmark = pytest.mark.peer


def documents(out):
    return [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]


def by_kind(out, kind):
    return sorted(out.glob(f"*-{kind}*.dcm"))


def states(daemon):
    return [job["state"] for job in daemon.jobs()]


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*") if path.is_file()}


def test_a_series_becomes_sr_seg_overlay_and_json_at_the_destination(daemon, out, tmp_path):
    send_series(ball_series("one"), tmp_path / "in", daemon)
    wait_until(lambda: documents(out), 30)
    (result,) = documents(out)
    assert result["complete"] and not result["late"]
    assert [finding["answer"] for finding in result["findings"]] == ["positive"]
    assert result["input_count"] == 8
    assert by_kind(out, "sr") and by_kind(out, "seg") and by_kind(out, "overlay")
    wait_until(lambda: daemon.metric("edge_jobs_concluded_total", outcome="complete") == 1)
    wait_until(lambda: states(daemon) == ["delivered"])


def test_results_reach_a_pacs_by_c_store_and_by_stow(tmp_path, engines):
    with orthanc(tmp_path / "pacs") as pacs, orthanc(tmp_path / "web") as web:
        destinations = [
            {"name": "pacs", "type": "dicom", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": pacs.dicom_port},
            {"name": "web", "type": "dicomweb", "url": web.url},
        ]
        config = write_config(tmp_path / "site.yaml", engines, destinations)
        with Daemon(config, tmp_path / "spool") as daemon:
            daemon.wait_ready()
            send_series(ball_series("pacs"), tmp_path / "in", daemon)
            wait_until(lambda: states(daemon) == ["delivered"], 30)
            assert set(pacs.instances()) == set(web.instances())
            assert len(pacs.instances()) >= 3


def test_the_same_series_again_makes_no_second_result(daemon, out, tmp_path):
    send_series(ball_series("again"), tmp_path / "in", daemon)
    wait_until(lambda: states(daemon) == ["delivered"], 30)
    before = hashes(out)
    assert send(tmp_path / "in", daemon.dicom_port).returncode == 0
    wait_until(lambda: daemon.metric("edge_instances_indexed_total", outcome="duplicate") == 8)
    time.sleep(1.5)
    assert states(daemon) == ["delivered"]
    assert hashes(out) == before


def test_late_slices_amend_the_result_and_name_the_first_report(daemon, out, tmp_path):
    series = ball_series("late", slices=10)
    send_series(series[:8], tmp_path / "early", daemon)
    wait_until(lambda: states(daemon) == ["delivered"], 30)
    (first,) = by_kind(out, "sr")
    send_series(series[8:], tmp_path / "late", daemon)
    wait_until(lambda: states(daemon) == ["delivered", "delivered"], 30)
    (second,) = set(by_kind(out, "sr")) - {first}
    predecessor = pydicom.dcmread(second).PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    named = predecessor.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert named == pydicom.dcmread(first).SOPInstanceUID
    assert sorted(document["input_count"] for document in documents(out)) == [8, 10]


def test_a_gap_gives_no_volume_and_says_so_until_the_missing_slice_comes(daemon, out, tmp_path):
    series = ball_series("gap", slices=9)
    send_series(series[:4] + series[5:], tmp_path / "most", daemon)
    wait_until(lambda: states(daemon) == ["refused"], 30)
    assert "missing_slices" in daemon.jobs()[0]["reason"]
    wait_until(lambda: daemon.metric("edge_jobs_refused_total", reason="missing_slices") == 1)
    assert "missing_slices" in daemon.log.read_text()
    assert not documents(out)
    send_series(series[4:5], tmp_path / "rest", daemon)
    wait_until(lambda: "delivered" in states(daemon), 30)
    assert [document["input_count"] for document in documents(out)] == [9]


def test_an_image_that_matches_no_pipeline_is_kept_and_explained(daemon, tmp_path):
    series = ball_series("other", Modality="MR")
    send_series(series, tmp_path / "in", daemon)
    wait_until(lambda: daemon.metric("edge_instances_indexed_total", outcome="unmatched") == 8)
    assert "find-ball: modality" in daemon.log.read_text()
    assert len(list((daemon.spool / "instances").rglob("*.dcm"))) == 8
    assert daemon.jobs() == []


def test_own_results_that_come_back_are_not_analysed(daemon, out, tmp_path):
    send_series(ball_series("own"), tmp_path / "in", daemon)
    wait_until(lambda: states(daemon) == ["delivered"], 30)
    back = tmp_path / "back"
    back.mkdir()
    for path in by_kind(out, "overlay"):
        (back / path.name).write_bytes(path.read_bytes())
    assert send(back, daemon.dicom_port).returncode == 0
    expected = len(list(back.iterdir()))
    wait_until(lambda: daemon.metric("edge_instances_indexed_total", outcome="own_result") == expected)
    assert states(daemon) == ["delivered"]


def test_two_patients_under_one_series_uid_get_two_results(daemon, out, tmp_path):
    one, two = ball_series("shared"), ball_series("shared", PatientName="Other^One", PatientID="PID-2")
    for data_set in two:
        data_set.SOPInstanceUID += ".2"
    send_series(one, tmp_path / "one", daemon)
    send_series(two, tmp_path / "two", daemon)
    wait_until(lambda: states(daemon) == ["delivered", "delivered"], 30)
    assert [document["input_count"] for document in documents(out)] == [8, 8]
    assert {str(pydicom.dcmread(path).PatientID) for path in by_kind(out, "sr")} == {PATIENT_ID, "PID-2"}


def test_one_instance_uid_with_other_bytes_is_kept_and_gives_no_volume(daemon, tmp_path):
    series = ball_series("conflict")
    save_series(series, tmp_path / "in")
    series[3].SeriesDescription = "changed"
    save_series(series[3:4], tmp_path / "changed")
    assert send(tmp_path / "in", daemon.dicom_port).returncode == 0
    assert send(tmp_path / "changed", daemon.dicom_port).returncode == 0
    wait_until(lambda: "refused" in states(daemon), 30)
    assert any("conflicting_instances" in job["reason"] for job in daemon.jobs())
    assert len(list((daemon.spool / "instances").rglob("*.dcm"))) == 9


def test_a_pacs_that_is_away_costs_nothing_but_backlog(tmp_path, engines, out):
    destinations = [
        {"name": "away", "type": "dicom", "ae_title": "GONE", "host": "127.0.0.1", "port": 9, "retry_seconds": 0.2},
        {"name": "disk", "type": "folder", "path": str(out)},
    ]
    config = write_config(tmp_path / "site.yaml", engines, destinations)
    with Daemon(config, tmp_path / "spool") as daemon:
        daemon.wait_ready()
        send_series(ball_series("away"), tmp_path / "in", daemon)
        wait_until(lambda: documents(out), 30)
        wait_until(lambda: daemon.metric("edge_deliveries", destination="away", state="queued") >= 3)
        assert daemon.get("/readyz")[0] == 200
        assert states(daemon) == ["reported"]


def test_no_patient_data_is_in_logs_metrics_errors_or_file_names(daemon, out, tmp_path):
    series = ball_series("private", StudyDate="19370411", StudyDescription="Zebrafinch")
    send_series(series, tmp_path / "in", daemon)
    series[0].Rows = 31  # pixel data of another length: refused
    for data_set in series:
        data_set.SeriesInstanceUID += ".7"
        data_set.SOPInstanceUID += ".7"
    send_series(series, tmp_path / "bad", daemon)
    wait_until(lambda: sorted(states(daemon)) == ["delivered", "refused"], 30)
    _, metrics = daemon.get("/metrics")
    _, page = daemon.get("/")
    _, ready = daemon.get("/readyz")
    names = "\n".join(str(path.relative_to(tmp_path)) for path in [*daemon.spool.rglob("*"), *out.rglob("*")])
    said = "\n".join([daemon.log.read_text(), metrics.decode(), page.decode(), ready.decode(), names])
    said += json.dumps(daemon.jobs())
    secrets = [*PATIENT_NAME.split("^"), PATIENT_ID, "ACC-4711", "19370411", "Zebrafinch"]
    secrets += [
        str(series[0][keyword].value) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    ]
    assert "refused" in said and "edge_" in said
    for secret in secrets:
        assert secret.casefold() not in said.casefold(), secret
    assert not re.search(r"\b2\.25\.\d{10}", said)


def test_a_stopped_daemon_finishes_what_it_acknowledged_when_it_starts_again(tmp_path, slow_engines, out):
    config = write_config(tmp_path / "site.yaml", slow_engines, [{"name": "disk", "type": "folder", "path": str(out)}])
    with Daemon(config, tmp_path / "spool") as daemon:
        daemon.wait_ready()
        for n in range(3):
            send_series(ball_series(f"load-{n}"), tmp_path / f"in-{n}", daemon)
        wait_until(lambda: "running" in states(daemon), 30)
        assert daemon.stop() == 0
        assert not documents(out) or len(documents(out)) < 3
        daemon.start()
        wait_until(lambda: len(documents(out)) == 3, 90)
        wait_until(lambda: states(daemon) == ["delivered"] * 3, 10)
    assert "parked" not in Path(daemon.log).read_text()


def test_every_metric_that_the_parts_report_is_in_the_catalogue(daemon, out, tmp_path):
    send_series(ball_series("metrics"), tmp_path / "in", daemon)
    wait_until(lambda: documents(out), 30)
    assert "not in the catalogue" not in daemon.log.read_text()
