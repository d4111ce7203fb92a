"""`edge-runtime video`: what the person in the room types, and what comes back. No output names a patient."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.key_frames import video_config

from edge_runtime.cli import main
from edge_runtime.examination import read_examination
from edge_runtime.spool.layout import Layout
from edge_runtime.spool.spool import prepare_spool


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("edge_runtime.cli.start_logging", lambda *_: None)  # it is for a whole process
    prepare_spool(video_config(tmp_path))
    (tmp_path / "site.yaml").write_text(f"""
spool: {{path: {tmp_path / "spool"}, reserve_bytes: 0}}
pipelines: [{{name: endoscopy, stages: [{{name: polyps, engine: e}}]}}]
video:
  - {{name: tower-1, url: "rtsp://camera/1", pipeline: endoscopy}}
  - {{name: tower-2, url: "rtsp://camera/2", pipeline: endoscopy, key_frames: {{maximum: 0}}}}
""")
    return tmp_path / "site.yaml"


def video(site: Path, action: str, *arguments: str) -> int:
    return main(["video", action, str(site), *arguments])


BEGIN = ("tower-1", "--patient-id", "P-77", "--patient-name", "Muster^Eva", "--accession", "A-99")


def test_begin_list_and_end(site, capsys):
    assert video(site, "begin", *BEGIN) == 0
    assert "examination begun at tower-1" in capsys.readouterr().out
    assert video(site, "list") == 0
    out = capsys.readouterr().out
    assert "tower-1  endoscopy  open" in out and "0 key frames" in out and "tower-2  endoscopy  none" in out
    assert video(site, "begin", *BEGIN) == 1
    assert "end it first" in capsys.readouterr().err
    assert video(site, "end", "tower-1") == 0
    assert video(site, "list") == 0
    assert "tower-1  endoscopy  ended" in capsys.readouterr().out
    assert video(site, "end", "tower-1") == 1


def test_as_json_it_says_the_same_and_names_no_patient(site, capsys):
    assert video(site, "begin", *BEGIN, "--hours", "2", "--json") == 0
    assert video(site, "list", "--json") == 0
    out = capsys.readouterr().out
    begun, end = json.JSONDecoder().raw_decode(out)
    listed = json.loads(out[end:])
    assert listed[0] == begun and listed[1] == {
        "source": "tower-2", "pipeline": "endoscopy", "state": "none", "examination": None,
    }  # fmt: skip
    assert begun["state"] == "open" and begun["ends_at"] - begun["begun_at"] == 7200
    for secret in ("P-77", "Muster", "A-99", "2.25."):
        assert secret not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["begin"], "name a SOURCE"),
        (["begin", "tower-9", "--patient-id", "1"], "there are: tower-1, tower-2"),
        (["begin", "tower-1"], "give --like FILE, or at least --patient-id"),
        (["begin", "tower-1", "--like", "x.dcm", "--sex", "F"], "nothing is mixed"),
        (["begin", "tower-1", "--like", "/nowhere/x.dcm"], "--like: the file cannot be read"),
        (["begin", "tower-1", "--patient-id", "1", "--hours", "99"], "--hours"),
        (["begin", "tower-2", "--patient-id", "1"], "key_frames.maximum is 0"),
        (["end"], "name a SOURCE"),
    ],
)
def test_what_is_missing_or_wrong_is_a_usage_error_in_plain_words(site, capsys, arguments, words):
    action, *rest = arguments
    with pytest.raises(SystemExit) as caught:
        video(site, action, *rest)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_the_values_are_those_that_were_given(site):
    more = ("--birth-date", "19610203", "--sex", "F", "--study-uid", "2.25.5", "--study-description", "Colonoscopy")
    assert video(site, "begin", *BEGIN, *more) == 0
    examination = read_examination(Layout(site.parent / "spool"), "tower-1")
    assert examination is not None
    kept = examination.attributes
    assert (kept.PatientID, str(kept.PatientName), kept.PatientBirthDate) == ("P-77", "Muster^Eva", "19610203")
    assert (kept.PatientSex, kept.AccessionNumber) == ("F", "A-99")
    assert (kept.StudyInstanceUID, kept.StudyDescription) == ("2.25.5", "Colonoscopy")
