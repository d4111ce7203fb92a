"""Scenario files, and the command line around them."""

import dataclasses
import importlib
import json

import numpy as np
import pydicom
import pytest

from benchmarks.cli import main
from benchmarks.places import agreement, answers, segments
from benchmarks.provenance import FileSystem, Watch, file_system
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.following import moments
from benchmarks.scenarios.schema import KINDS, IdleTargets, Ingest, read_scenario, shipped
from benchmarks.scenarios.series import phantoms
from benchmarks.site import work_folder
from benchmarks.slices import CtSlices, read_series, write_again


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_is_valid_and_has_a_reduced_version(name):
    found, scenario = read_scenario(name)
    assert (found, scenario.kind) == (name, name.removeprefix("ct-"))
    assert scenario.rounds >= 5 or name == "soak", "fewer samples cannot be compared"
    assert scenario.reduced().rounds == 1
    assert dataclasses.replace(scenario) == scenario


def test_the_scenarios_are_shipped():
    assert shipped() == [
        "cold-start", "convert", "ct-idle", "ct-study", "engine", "gpu-frame", "idle", "idle-gap", "ingest", "mixed",
        "overload", "pipeline", "queue", "scaling", "soak", "study", "video",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_scenario_has_a_module_that_runs_it_and_is_shipped(kind):
    module = importlib.import_module(f"benchmarks.scenarios.{kind.replace('-', '_')}")
    assert callable(module.run)
    assert kind in shipped()


def test_the_targets_of_a_start_are_those_of_the_scenario():
    assert read_scenario("idle")[1].targets == IdleTargets(ready_less_golden_seconds=1.5, receive_megabytes=80)
    assert read_scenario("ct-idle")[1].targets == IdleTargets(
        ready_seconds=3, receive_megabytes=80, infer_megabytes=400
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: ingest\nrouds: 3\n", "did you mean 'rounds'"),
        ("kind: ingest\nrounds: 0\n", "at least 1"),
        ("kind: ingest\nslices: 2\n", "as many as associations"),
        ("kind: nonsense\n", "kind must be one of"),
        ("- a list\n", "kind must be one of"),
        ("kind: [\n", "no YAML"),
        ("kind: study\npeers: [nobody]\n", "nobody"),
        ("kind: queue\nseries: 20\n", "more than settled_after"),
        ("kind: queue\nquiet_seconds: 0\n", "must be positive"),
        ("kind: engine\nprecisions: []\n", "name at least one, or a precision"),
        ("kind: engine\nprecisions: [int4]\n", "int4"),
        ("kind: engine\nruns: 0\n", "runs: must be at least 1"),
        ("kind: convert\nengines: []\n", "name at least one"),
        ("kind: convert\ntargets: {seconds: -1}\n", "seconds: must be positive"),
        ("kind: video\npipeline: nonsense\n", "nonsense"),
        ("kind: video\nseconds: 0\n", "seconds: must be positive"),
        ("kind: video\nround: 3\n", "did you mean 'rounds'"),
        ("kind: overload\nload: 1\n", "load: must be more than 1"),
        ("kind: overload\ndeadline_seconds: -1\n", "deadline_seconds: must be positive"),
        ("kind: mixed\nquiet_seconds: 0\n", "quiet_seconds: must be positive"),
        ("kind: soak\nrounds: 3\n", "rounds: must be 1"),
        ("kind: soak\nwarm_share: 1\n", "warm_share: is 0 to 1"),
        ("kind: soak\nminutes: 0\n", "minutes: must be positive"),
        ("kind: idle\ntargets: {ready_seconds: 0}\n", "ready_seconds: must be positive"),
        ("kind: idle\ntargets: {redy_seconds: 3}\n", "did you mean 'ready_seconds'"),
    ],
)
def test_a_scenario_that_does_not_fit_is_one_usage_error(text, said, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["run", str(tmp_path / "mine.yaml"), "--json", str(tmp_path / "out.json")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_an_unknown_scenario_names_those_that_there_are(tmp_path, capsys):
    assert main(["run", "nosuch", "--json", str(tmp_path / "out.json")]) == 2
    assert ", ".join(shipped()) in capsys.readouterr().err


def test_a_result_that_could_not_be_written_is_refused_before_the_run(tmp_path, capsys):
    assert main(["run", "ingest", "--json", str(tmp_path / "missing" / "out.json")]) == 2
    assert "no folder" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["run", "ingest"], ["run", "ingest", "--json", "x", "--rounds", "0"], []])
def test_a_wrong_command_line_ends_with_2(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_folder_in_memory_is_refused_and_only_a_reduced_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.site.file_system", lambda _: FileSystem("tmpfs", "tmpfs"))
    with pytest.raises(BenchFailed, match="tmpfs"), work_folder(str(tmp_path), Record({}, reduced=False)):
        pass
    record = Record({}, reduced=True)
    with work_folder(str(tmp_path), record) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    assert "tmpfs" in record.problems[0]


def test_the_file_system_of_a_folder_is_that_of_its_mount():
    from pathlib import Path

    assert file_system(Path("/proc/self")).type == "proc"
    assert file_system(Path("/")).type not in ("proc", "unknown")


def test_provenance_names_machine_versions_and_disk(tmp_path):
    document = Watch().document(tmp_path)
    assert document["cores"] >= 1 and document["cpu_model"] and document["device"].startswith("CPU")
    assert {"numpy", "pydicom", "onnxruntime"} <= set(document["packages"])
    assert document["file_system"]["type"] != "unknown"
    assert document["cpu_share_of_other_programs"] >= 0


def test_a_machine_that_is_not_quiet_is_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (64.0 * 1024, 1.0, 1.0))
    watch = Watch()
    assert "load average" in watch.unrest(watch.document(tmp_path))[0]


def test_slices_are_valid_have_the_size_of_a_ct_and_never_the_same_uid(tmp_path):
    slices = CtSlices(3)
    folders = [*slices.write(tmp_path / "one", 3), *slices.write(tmp_path / "two", 3, folders=2)]
    files = [path for folder in folders for path in folder.iterdir()]
    read = [pydicom.dcmread(path) for path in files]
    assert len(files) == 6 == len({str(d.SOPInstanceUID) for d in read})
    assert all(d.SOPInstanceUID == d.file_meta.MediaStorageSOPInstanceUID for d in read)
    assert len({str(d.SeriesInstanceUID) for d in read}) == 2
    assert all(d.pixel_array.shape == (512, 512) and 524_288 < p.stat().st_size < 526_000
               for d, p in zip(read, files, strict=True))  # fmt: skip


def test_a_series_written_again_has_new_uids_and_the_same_pixels(tmp_path):
    (folder,) = CtSlices(2).write(tmp_path / "in", 2)
    series = read_series(folder)
    again = read_series(write_again(series, tmp_path / "again", "x"))
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert not {d[keyword].value for d in series} & {d[keyword].value for d in again}
    assert len({d.SeriesInstanceUID for d in again}) == 1
    assert [d.PixelData for d in series] == [d.PixelData for d in again]


FULL, HALF = np.ones((4, 4), bool), np.eye(4, dtype=bool)


def test_agreement_is_dice_over_all_frames_of_a_segment():
    assert agreement([{(0.0,): FULL}], [{(0.0,): FULL}]) == 1.0
    assert agreement([{(0.0,): FULL}], [{(1.0,): FULL}]) == 0.0
    assert agreement([{(0.0,): FULL}], [{(0.0,): HALF}]) == 2 * 4 / 20
    assert agreement([], []) == 1.0


def test_agreement_is_that_of_the_worst_segment_however_they_are_numbered():
    first, second, third = {(0.0,): FULL}, {(1.0,): FULL}, {(1.0,): HALF}
    assert agreement([first, second], [second, first]) == 1.0
    assert agreement([first, second], [first, third]) == 2 * 4 / 20
    for one_sided in ([first, second], [first]), ([first], [first, second]), ([first], []), ([], [first]):
        assert agreement(*one_sided) == 0.0


def test_no_seg_is_no_segment(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    (folder,) = CtSlices(1).write(tmp_path / "in", 1)
    assert segments([tmp_path / "result.json", *folder.iterdir()]) == []


def test_answers_are_outcomes_and_findings_by_series(tmp_path):
    document = {
        "source_series_instance_uid": "2.25.1",
        "stages": [{"name": "triage", "outcome": "ran"}],
        "findings": [{"stage": "triage", "label": "bleed", "answer": "positive"}],
    }
    (tmp_path / "result.json").write_text(json.dumps(document))
    assert answers([tmp_path / "result.json", tmp_path / "seg.dcm"]) == {
        "2.25.1": [("stage", "triage", "ran"), ("triage", "bleed", "positive")]
    }


def test_moments_are_what_the_log_tells_and_when():
    lines = [
        "2026-11-23T04:00:00.250Z INFO infer: series complete job=00 pipeline=x",
        "no line of ours",
        "2026-11-23T04:00:01.000Z INFO report: report written job=00 files=3",
    ]
    (first, began), (second, ended) = moments(lines)
    assert (first, second) == ("series complete", "report written")
    assert ended - began == 0.75


def test_phantoms_are_series_of_their_own_every_second_one_negative(tmp_path):
    made = phantoms(2, slices=12, matrix=64, work=tmp_path)
    assert [len(series) for series in made] == [12, 12]
    assert len({series[0].SeriesInstanceUID for series in made}) == 2
    assert (made[0][0].Rows, made[0][0].Modality, made[0][0].BodyPartExamined) == (64, "CT", "HEAD")
    assert not np.array_equal(made[0][6].pixel_array, made[1][6].pixel_array)


def test_the_targets_are_of_cases_that_are_measured():
    from benchmarks.scenarios.ingest import cases, targets

    scenario = Ingest(kind="ingest")
    measured = {(case.name, peer) for case in cases(scenario) for peer in case.peers}
    assert set(targets(scenario)) <= measured
