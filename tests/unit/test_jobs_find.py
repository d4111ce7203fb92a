"""Where is my study: the command finds it by its numbers and repeats none of them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from support.dicom_objects import ct_series
from support.spools import close, conclude, deliver, report, store_instance, take

from edge_runtime.assemble.header import read_header
from edge_runtime.cli import main
from edge_runtime.jobs_find import Wanted, find_series
from edge_runtime.roles.collect import series_key
from edge_runtime.spool.receipt import Receipt
from edge_runtime.spool.spool import Spool

IDENTITY = {"AccessionNumber": "ACC-4711", "PatientID": "PID-7788", "PatientName": "Zzyzx^Quentin"}


def series(name: str, **changes: str) -> list[Dataset]:
    return ct_series(np.zeros((2, 4, 4)), name=name, **{**IDENTITY, **changes})


def encoded(data_set: Dataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, data_set, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def stored(spool: Spool, data_sets: list[Dataset]) -> list[Receipt]:
    receipts = [store_instance(spool, number, encoded(one)) for number, one in enumerate(data_sets)]
    spool.instances.add(receipts)
    return receipts


def matched(spool: Spool, data_sets: list[Dataset]) -> list[Receipt]:
    """Noted as the collector does."""
    receipts = stored(spool, data_sets)
    header = read_header(spool.store.path(receipts[0].id))
    key = series_key(header)
    spool.instances.add_series(key, header.study_instance_uid, header.series_instance_uid,
                               header.accession_number or "", {"modality": header.modality})  # fmt: skip
    for receipt in receipts:
        spool.instances.step(receipt.id, "match", series_key=key)
        job = take(spool, receipt, key)
    deliver(spool, report(spool, conclude(spool, close(spool, job))))
    return receipts


@pytest.mark.parametrize(
    "wanted",
    [Wanted(accession="ACC-4711"), Wanted(accession=" ACC-4711 "), Wanted(patient_id="PID-7788"),
     Wanted(study_uid=str(series("a")[0].StudyInstanceUID)), Wanted(accession="ACC-4711", patient_id="PID-7788")],
)  # fmt: skip
def test_a_series_is_found_by_each_of_its_numbers_with_jobs_and_deliveries(spool: Spool, wanted: Wanted) -> None:
    matched(spool, series("a"))
    matched(spool, series("b", AccessionNumber="OTHER", PatientID="OTHER"))
    (found,) = find_series(spool, wanted)
    assert (found["modality"], found["images"], found["callers"]) == ("CT", {"matched": 2}, ["CT01"])
    (job,) = found["jobs"]
    assert (job["state"], job["pipeline"], job["revision"]) == ("delivered", "head", 1)
    assert {row["destination"]: row["state"] for row in job["deliveries"]} == {"disk": "done", "pacs": "done"}


@pytest.mark.parametrize(
    "wanted",
    [Wanted(accession="ACC"), Wanted(accession="%"), Wanted(study_uid="1.2"), Wanted(patient_id="PID"),
     Wanted(accession="ACC-4711", patient_id="OTHER")],
)  # fmt: skip
def test_what_is_not_the_whole_number_is_not_found(spool: Spool, wanted: Wanted) -> None:
    matched(spool, series("a"))
    stored(spool, series("b"))
    assert find_series(spool, wanted) == []


def test_images_that_no_job_took_are_found_in_their_files_with_the_reason(spool: Spool) -> None:
    for receipt in stored(spool, series("c")):
        spool.instances.step(receipt.id, "no_match", "head: modality")
    (found,) = find_series(spool, Wanted(accession="ACC-4711"))
    assert (found["images"], found["reasons"], found["jobs"]) == ({"unmatched": 2}, ["head: modality"], [])


def test_by_number_a_series_is_found_when_its_images_are_deleted_and_by_patient_it_is_not(spool: Spool) -> None:
    for receipt in matched(spool, series("a")):
        spool.instances.step(receipt.id, "retire")
        spool.store.remove(receipt.id)
    (found,) = find_series(spool, Wanted(accession="ACC-4711"))
    assert found["images"] == {"retired": 2}
    assert find_series(spool, Wanted(patient_id="PID-7788")) == []


def test_a_file_that_cannot_be_read_is_passed_over(spool: Spool) -> None:
    spool.instances.add([store_instance(spool, 1, b"nothing")])
    assert find_series(spool, Wanted(accession="ACC-4711")) == []


def test_the_command_prints_what_it_found_and_no_number(
    spool: Spool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matched(spool, series("a"))
    for receipt in stored(spool, series("c", SeriesDescription="Zebrafinch")):
        spool.instances.step(receipt.id, "no_match", "head: modality")
    config = tmp_path / "site.yaml"
    config.write_text(f"spool: {{path: {spool.layout.root}}}\npipelines: []\n")
    assert main(["jobs", "find", str(config), "--accession", "ACC-4711"]) == 0
    said = capsys.readouterr().out
    assert "series 1: CT, 2 matched images" in said and "disk: " in said and "done" in said
    assert "no job: head: modality" in said and "2 series" in said
    assert main(["jobs", "find", str(config), "--patient-id", "PID-7788", "--json"]) == 0
    shown = capsys.readouterr().out
    assert len(json.loads(shown)) == 2
    for secret in (*IDENTITY.values(), "Zzyzx", "Zebrafinch", "2.25.1", str(series("a")[0].StudyInstanceUID)):
        assert secret not in said + shown, secret
    assert main(["jobs", "find", str(config), "--accession", "none"]) == 1
    assert "never came" in capsys.readouterr().out


def test_without_a_number_it_is_used_wrongly(spool: Spool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "site.yaml"
    config.write_text(f"spool: {{path: {spool.layout.root}}}\npipelines: []\n")
    with pytest.raises(SystemExit) as caught:
        main(["jobs", "find", str(config)])
    assert caught.value.code == 2
    assert "--accession" in capsys.readouterr().err
