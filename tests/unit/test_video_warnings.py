"""What works badly, or not now, is a warning of `check`: a line that says what to do."""

import json
from dataclasses import replace

import pytest

from edge_runtime import video_warnings as module
from edge_runtime.config import Config, Destination, Match, Pipeline, SendTo, Spool, Stage, Video
from edge_runtime.video_warnings import video_warnings

STAGES = (Stage(name="look", engine="e"), Stage(name="find", engine="e"), Stage(name="more", engine="e", optional=True))
RUNS = {("p", "look"): 0.02, ("p", "find"): 0.03, ("p", "more"): 9.0}


def config(pipeline=None, **video):
    base = Pipeline(name="p", stages=STAGES, results=("sr", "seg", "json"))
    source = {"name": "tower", "pipeline": "p", "url": "/a.mp4", "deadline_seconds": 0.1, **video}
    return Config(
        spool=Spool(path="s"),
        pipelines=(replace(base, **(pipeline or {})),),
        video=(Video(**source),),
        destinations=(
            Destination(name="disk", type="folder", path="/out"),
            Destination(name="lines", type="jsonlines", path="/lines"),
        ),
    )


def warned(found, runs=RUNS, there=True):
    return video_warnings(found, runs, lambda _: there, lambda _: there)


def test_what_is_well_gives_no_warning():
    assert warned(config()) == []
    assert warned(config(url="rtsp://camera/1")) == []
    assert warned(config(url=None, command="gst-launch-1.0 x", deadline_seconds=0.06)) == []


@pytest.mark.parametrize(("deadline", "count"), [(0.049, 1), (0.051, 0)])
def test_a_deadline_is_held_against_the_stages_that_are_not_optional(deadline, count):
    lines = warned(config(deadline_seconds=deadline))
    assert len(lines) == count
    assert all("video tower" in line and "50 ms" in line and "deadline_seconds" in line for line in lines)


def test_the_deadline_is_the_pipelines_where_the_source_has_none():
    assert len(warned(config({"deadline_seconds": 0.01}, deadline_seconds=None))) == 1
    assert warned(config({"deadline_seconds": 60.0}, deadline_seconds=None)) == []


def test_what_a_passport_does_not_say_is_not_warned_of():
    assert warned(config(deadline_seconds=0.025), {**RUNS, ("p", "find"): None}) == []


def test_a_short_deadline_wants_a_command_in_place_of_a_url_of_rtsp():
    (line,) = warned(config(url="rtsp://u:secret@camera/1", deadline_seconds=0.08))
    assert "command" in line and "H.264" in line and "secret" not in line


def test_a_file_that_is_not_there_is_named():
    (line,) = warned(config(url="file:///data/a.mp4"), there=False)
    assert line.startswith("video tower: /data/a.mp4 is not there now")


def test_a_program_that_is_not_there_is_named():
    (line,) = warned(config(url=None, command="gts-launch -q secret"), there=False)
    assert "program gts-launch is not found" in line and "secret" not in line


def test_seg_is_warned_of_where_it_would_go_somewhere_and_only_video_uses_the_pipeline():
    (line,) = warned(config({"send_to": (SendTo(name="disk"),)}))
    assert line.startswith("pipeline p:") and "SEG" in line
    assert warned(config({"send_to": (SendTo(name="disk", results=("sr",)), SendTo(name="lines"))})) == []
    assert warned(config({"send_to": (SendTo(name="disk"),), "match": Match(modality=("ES",))})) == []


def test_check_prints_them_and_its_exit_code_stays(monkeypatch, tmp_path, capsys):
    from edge_runtime import cli
    from edge_runtime.engines import required

    monkeypatch.setattr(required, "verify_all", lambda _: None)
    monkeypatch.setattr(required, "placement", lambda _: required.Placement(worker=False))
    monkeypatch.setattr(module, "cheapest_runs", lambda _: RUNS)
    file = tmp_path / "site.yaml"
    file.write_text(
        "spool: {path: s}\npipelines: [{name: p, stages: [{name: look, engine: e}]}]\n"
        f"video: [{{name: tower, pipeline: p, url: {tmp_path}/none.mp4, deadline_seconds: 0.1}}]\n"
    )
    assert cli.main(["check", str(file)]) == 0
    _, first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("warning: video tower: ") and last == "ok"
    assert cli.main(["check", str(file), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) == 1
