"""Whose pictures a source shows: begun and ended by a person, durable, and never the patient before."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import examination as examinations
from edge_runtime.errors import SpoolError, StepRefused
from edge_runtime.examination import Examination, Moment, OpenExaminations, begin, end, read_examination
from edge_runtime.patient_and_study import attributes_from
from edge_runtime.spool.layout import Layout

NOON = Moment(1_790_000_000.0, 5_000.0, "this boot")
PATIENT = {"PatientID": "P-1", "PatientName": "Müller^Jörg", "StudyInstanceUID": "2.25.7"}


@pytest.fixture
def layout(tmp_path) -> Layout:
    return Layout(tmp_path)


def later(seconds: float, now: Moment = NOON) -> Moment:
    return Moment(now.unix + seconds, now.monotonic + seconds, now.boot)


def started(layout: Layout, hours: float = 4.0, now: Moment = NOON) -> Examination:
    return begin(layout, "tower-1", attributes_from(PATIENT), hours, now)


def test_it_survives_in_a_file_that_only_its_owner_reads(layout):
    begun = started(layout)
    path = layout.examinations / "tower-1.json"
    assert path.stat().st_mode & 0o777 == 0o600 and layout.examinations.stat().st_mode & 0o777 == 0o700
    read = examinations.read_examination(layout, "tower-1")
    assert read == begun
    assert str(read.attributes.PatientName) == "Müller^Jörg"
    assert (read.attributes.StudyDate, read.attributes.StudyTime) == ("20260921", "141320")


def test_beginning_while_one_is_open_is_refused_and_changes_nothing(layout):
    begun = started(layout)
    with pytest.raises(StepRefused, match="end it first"):
        begin(layout, "tower-1", attributes_from({"PatientID": "P-2"}), 4, later(60))
    assert examinations.read_examination(layout, "tower-1") == begun
    begin(layout, "tower-2", attributes_from({"PatientID": "P-2"}), 4, later(60))


def test_after_its_end_or_its_hours_another_may_begin(layout):
    first = started(layout)
    with pytest.raises(StepRefused, match="no examination"):
        end(layout, "tower-2", later(1))
    assert end(layout, "tower-1", later(60)).ended_unix == NOON.unix + 60
    with pytest.raises(StepRefused, match="no examination"):
        end(layout, "tower-1", later(61))
    second = started(layout, now=later(62))
    with pytest.raises(StepRefused, match="no examination"):
        end(layout, "tower-1", later(62 + 4 * 3600))
    third = started(layout, now=later(62 + 4 * 3600))
    assert len({first.id, second.id, third.id}) == len({first.series_uid, second.series_uid, third.series_uid}) == 3


@pytest.mark.parametrize("hours", [0, -1, 25, float("nan")])
def test_hours_that_make_no_sense_are_refused(layout, hours):
    with pytest.raises(ValueError, match="--hours"):
        started(layout, hours)


def test_it_takes_what_was_captured_while_it_was_open(layout):
    begun = started(layout)
    assert begun.takes(NOON) and begun.takes(later(4 * 3600 - 1))
    assert not begun.takes(later(-0.001)) and not begun.takes(later(4 * 3600))


def test_within_one_boot_a_wall_clock_that_jumps_neither_opens_nor_shuts_it_early(layout):
    begun = started(layout)
    assert begun.takes(replace(later(60), unix=NOON.unix - 7200))
    assert not begun.takes(replace(later(-60), unix=NOON.unix + 60))
    assert not begun.takes(replace(later(4 * 3600), unix=NOON.unix - 7200))


def test_after_another_boot_the_wall_clock_decides(layout):
    begun = started(layout)
    other = Moment(NOON.unix + 600, 30.0, "another boot")
    assert begun.takes(other)
    assert not begun.takes(replace(other, unix=0.0)) and not begun.takes(replace(other, unix=begun.ends_unix))


@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.sampled_from(["this boot", "another boot"]))
def test_once_ended_it_takes_nothing_whatever_the_clocks_say(unix, monotonic, boot):
    begun = Examination("i", "s", NOON.unix, NOON.monotonic, NOON.boot, 4, None, "2.25.1", "")
    ended = replace(begun, ended_unix=NOON.unix + 60)
    moment = Moment(NOON.unix + unix, NOON.monotonic + monotonic, boot)
    assert not ended.takes(moment)
    if begun.takes(moment):
        assert moment.unix < begun.ends_unix
        assert moment.monotonic >= NOON.monotonic if boot == "this boot" else moment.unix >= NOON.unix


def test_the_reader_sees_every_change_and_reads_only_then(layout, monkeypatch):
    reads = []
    real = examinations.read_examination
    monkeypatch.setattr(examinations, "read_examination", lambda *a: reads.append(a) or real(*a))
    reader = OpenExaminations(layout)
    assert reader.at("tower-1", NOON) is None and not reads
    begun = started(layout)
    reads.clear()
    assert [reader.at("tower-1", later(n)) for n in range(3)] == [begun] * 3
    assert len(reads) == 1
    end(layout, "tower-1", later(5))
    assert reader.at("tower-1", later(6)) is None
    assert reader.at("tower-1", later(4)) is None
    other = started(layout, now=later(10))
    assert reader.at("tower-1", later(9)) is None
    assert reader.at("tower-1", later(11)) == other


@pytest.mark.parametrize("damage", ["{", "[]", '{"schema_version": 99}', '{"schema_version": 1, "id": "x"}'])
def test_a_damaged_file_takes_no_frame_and_is_replaced_by_the_next_beginning(layout, damage, caplog):
    started(layout)
    path = layout.examinations / "tower-1.json"
    path.write_text(damage)
    with pytest.raises(SpoolError, match="begin it anew"):
        examinations.read_examination(layout, "tower-1")
    reader = OpenExaminations(layout)
    assert reader.at("tower-1", NOON) is None and reader.at("tower-1", NOON) is None
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1
    started(layout)
    assert reader.at("tower-1", NOON) is not None


def test_a_file_of_another_source_is_not_taken(layout):
    started(layout)
    (layout.examinations / "tower-1.json").rename(layout.examinations / "tower-2.json")
    assert OpenExaminations(layout).at("tower-2", NOON) is None


def test_another_user_than_the_daemons_is_refused_before_anything_is_written(layout, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(SpoolError, match="as the user of the daemon"):
        started(layout)
    assert not layout.examinations.exists()


def test_a_spool_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SpoolError, match=r"is spool\.path right"):
        started(Layout(tmp_path / "nowhere"))


def test_the_record_is_json_of_one_level(layout):
    started(layout)
    record = json.loads((layout.examinations / "tower-1.json").read_text())
    assert record["schema_version"] == 1
    assert all(not isinstance(value, (dict, list)) for value in record.values())
    assert "Jörg" not in json.dumps(record, ensure_ascii=False)


def test_a_computer_that_slept_beyond_the_end_takes_no_further_frame():
    """While it sleeps the monotonic clock stands still; a wall clock that was set ahead ends an examination early."""
    examination = Examination("i", "s", NOON.unix, NOON.monotonic, NOON.boot, 1, None, "2.25.1", "")
    assert examination.takes(Moment(NOON.unix + 60, NOON.monotonic + 60, NOON.boot))
    assert not examination.takes(Moment(NOON.unix + 3600, NOON.monotonic + 60, NOON.boot))


def test_of_two_who_begin_at_once_one_is_refused(tmp_path):
    layout = Layout(tmp_path)
    layout.create()
    told = []

    def start(number):
        try:
            told.append(begin(layout, "tower", attributes_from({"PatientID": f"P{number}"}), 4.0))
        except StepRefused:
            told.append(None)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (begun,) = [one for one in told if one is not None]
    assert len(told) == 8 and read_examination(layout, "tower").id == begun.id
