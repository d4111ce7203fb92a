"""`edge-bench site` on a small site: what an acceptance folder holds and says, never how fast anything is."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import yaml
from support.pacs import wait_until
from support.site import ball_series, save_series, write_config

from benchmarks.cli import main

pytestmark = pytest.mark.peer


@pytest.fixture
def site(tmp_path, engines):
    """A configuration whose destinations are those of a hospital, and a traffic shape with a series of its own."""

    def make(per_hour=2400, arrival="even", **pipeline):
        save_series(ball_series("site"), tmp_path / "series")
        destinations = [
            {"name": "disk", "type": "folder", "path": "/nonexistent/out"},
            {"name": "pacs", "type": "dicom", "ae_title": "PACS", "host": "192.0.2.1", "port": 104},
            {"name": "web", "type": "dicomweb", "url": "https://user:s3cr3t@192.0.2.1/dicom-web"},
            {"name": "hook", "type": "webhook", "url": "https://192.0.2.1/hook", "secret_file": "/nonexistent/key"},
        ]
        config = write_config(tmp_path / "site.yaml", engines, destinations, **pipeline)
        document = yaml.safe_load(config.read_text())
        document["spool"]["path"] = str(tmp_path / "spools" / "spool")
        (tmp_path / "spools").mkdir()
        document["receive"] = {"dicom": {"callers": [{"ae_title": "CT01", "hosts": ["192.0.2.7"]}]}}
        config.write_text(yaml.safe_dump(document))
        traffic = tmp_path / "traffic.yaml"
        sent = {"pipeline": "find-ball", "series": str(tmp_path / "series"), "per_hour": per_hour, "arrival": arrival}
        traffic.write_text(yaml.safe_dump({"series": [sent]}))
        return [str(config), "--out", str(tmp_path / "out"), "--traffic", str(traffic)]

    return make


def read(tmp_path):
    assert not list((tmp_path / "spools").iterdir()), "something was left beside the site's spool"
    return json.loads((tmp_path / "out" / "acceptance.json").read_text())


def verdicts(document):
    return {budget["name"]: budget["verdict"] for budget in document["budgets"]}


def test_a_site_that_keeps_its_deadline_passes_and_every_difference_is_said(tmp_path, site, capsys):
    code = main(["site", *site(deadline_seconds=30.0), "--minutes", "0.09"])
    document = read(tmp_path)
    assert (code, document["state"], document["acceptance"]["verdict"]) == (0, "complete", "pass"), capsys.readouterr()
    name = "pipelines.find-ball"
    assert verdicts(document) == {
        f"{name}: last slice to last result": "pass", "nothing acknowledged is lost": "pass",
        "nothing fails, is parked or is incomplete": "pass", "ready after the start": "no budget",
    }  # fmt: skip
    latencies, studies = document["latencies"][name], document["details"][f"{name}: studies"]
    assert (latencies["mode"], latencies["warm_up"], latencies["count"]) == ("fixed-rate", 1, len(studies))
    assert len(studies) == 4, "0, 1.5, 3 and 4.5 s of 5.4 s"
    assert all(one["acknowledged"] == one["images_of_the_job"] == 8 for one in studies)
    assert all(one["last_response_at"] < one["concluded_at"] < one["arrived_at"] for one in studies)
    assert set(document["stages"][name]) == {"find"}
    ends = [(span["begin_ms"], span["end_ms"]) for span in document["timelines"][0]["spans"]]
    assert all(begin <= end for begin, end in ends) and [b for b, _ in ends[1:]] == [e for _, e in ends[:-1]]
    said = " ".join(document["notes"])
    stand_ins = [f"destinations.{one}" for one in ("pacs (dicom)", "web (dicomweb)", "hook (webhook)")]
    for what in ("spool.path", "receive.dicom.callers", *stand_ins):
        assert f"not as at the site: {what}" in said
    kept = (tmp_path / "out" / "configuration.yaml").read_text()
    assert "192.0.2" not in kept and "s3cr3t" not in kept
    assert yaml.safe_load(kept)["pipelines"][0]["deadline_seconds"] == 30.0
    page = (tmp_path / "out" / "acceptance.html").read_text()
    assert "find-ball" in page


def test_a_deadline_that_cannot_be_kept_fails_and_a_second_run_overwrites_nothing(tmp_path, site, capsys):
    arguments = ["site", *site(deadline_seconds=0.2), "--minutes", "0.06"]
    assert main(arguments) == 1
    document = read(tmp_path)
    assert document["acceptance"]["verdict"] == "fail"
    assert verdicts(document)["pipelines.find-ball: last slice to last result"] == "fail"
    assert verdicts(document)["nothing acknowledged is lost"] == "pass"
    assert (
        document["deadlines"]["pipelines.find-ball"]["missed"] == document["latencies"]["pipelines.find-ball"]["count"]
    )
    assert main(arguments) == 2
    assert "acceptance.json is there already" in capsys.readouterr().err


def test_an_interrupted_site_keeps_what_it_measured_and_is_not_judged(tmp_path, site):
    log = tmp_path / "bench.log"
    with log.open("wb") as said:
        command = [sys.executable, "-m", "benchmarks.cli", "site", *site(deadline_seconds=30.0), "--minutes", "10"]
        bench = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    wait_until(lambda: b"run for" in log.read_bytes(), 60)
    with pytest.raises(subprocess.TimeoutExpired):
        bench.wait(4)
    bench.send_signal(signal.SIGTERM)
    assert bench.wait(30) == 1, log.read_text()
    document = read(tmp_path)
    assert (document["state"], document["acceptance"]["verdict"]) == ("interrupted", "not judged")
    assert document["latencies"]["pipelines.find-ball"]["count"] >= 1
    assert "fail" not in verdicts(document).values()
    assert any("interrupted" in problem for problem in document["problems"])


def test_a_series_that_does_not_fit_its_pipeline_ends_the_run_with_a_sentence(tmp_path, site):
    assert main(["site", *site(match={"modality": "MR"}, deadline_seconds=5.0), "--minutes", "0.05"]) == 1
    document = read(tmp_path)
    assert (document["state"], document["acceptance"]["verdict"]) == ("failed", "not judged")
    (problem,) = [one for one in document["problems"] if "does not fit" in one]
    assert "pipelines.find-ball.match" in problem


def test_what_cannot_be_run_is_refused_before_anything_starts(tmp_path, site, engines, capsys):
    arguments = site()
    missing = [str(tmp_path / "no.yaml"), *arguments[1:], "--minutes", "1"]
    assert main(["site", *missing]) == 78
    traffic = tmp_path / "traffic.yaml"
    traffic.write_text("series: []\nspeed: 3\n")
    assert main(["site", *arguments, "--minutes", "1"]) == 2
    assert "speed" in capsys.readouterr().err
    document = yaml.safe_load((tmp_path / "site.yaml").read_text())
    document["engines"]["path"] = str(tmp_path / "unbuilt")
    (tmp_path / "unbuilt" / "bright").mkdir(parents=True)
    shutil.copy(engines / "bright" / "model.yaml", tmp_path / "unbuilt" / "bright")
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(document))
    assert main(["site", *arguments, "--minutes", "1"]) == 69
    assert not (tmp_path / "out").exists()
