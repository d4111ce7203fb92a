"""Lines in files: whole or not there, one source a file, begun anew in time."""

import errno
import json
import os

import pytest
from support.live_results import frame_result

from edge_runtime.live import jsonlines
from edge_runtime.live.jsonlines import LinesWriter
from edge_runtime.live.segments import Segments
from edge_runtime.live.sinks import Entry


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(tmp_path, clock):
    made = LinesWriter(Segments(tmp_path, "jsonl", 60.0, 1_000_000), clock)
    yield made
    made.close()


def lines(folder, source="tower-1"):
    files = sorted(folder.glob(f"{source}-2*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def entry(sequence=1, source="tower-1") -> Entry:
    return Entry(frame_result(source, sequence))


def test_a_line_can_be_read_as_soon_as_it_counts_as_sent(tmp_path, writer):
    for sequence in range(1, 4):
        assert writer.write(entry(sequence)) == "sent"
        assert lines(tmp_path)[-1]["sequence"] == sequence


def test_each_source_has_files_of_its_own(tmp_path, writer):
    for sequence in range(1, 6):
        for source in ("tower-1", "tower-2"):
            writer.write(entry(sequence, source))
    for source in ("tower-1", "tower-2"):
        found = lines(tmp_path, source)
        assert [line["source"] for line in found] == [source] * 5
        assert [line["sequence"] for line in found] == [1, 2, 3, 4, 5]


def test_a_new_file_begins_after_its_time_and_an_idle_one_ends(tmp_path, writer, clock):
    writer.write(entry(1))
    clock.now += 60
    writer.write(entry(2))
    assert len(list(tmp_path.iterdir())) == 2
    clock.now += 60
    writer.idle()
    assert writer._files == {}
    assert [line["sequence"] for line in lines(tmp_path)] == [1, 2]


def test_a_file_that_somebody_deleted_is_begun_anew(tmp_path, writer):
    writer.write(entry(1))
    next(tmp_path.iterdir()).unlink()
    writer.write(entry(2))
    assert [line["sequence"] for line in lines(tmp_path)] == [2]


def test_of_a_line_that_does_not_fit_nothing_stays(tmp_path, writer, monkeypatch):
    writer.write(entry(1))
    real = os.write
    monkeypatch.setattr(jsonlines.os, "write", lambda descriptor, data: real(descriptor, data[:100]))
    with pytest.raises(OSError) as full:
        writer.write(entry(2))
    assert full.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert writer.write(entry(3)) == "sent"
    assert [line["sequence"] for line in lines(tmp_path)] == [1, 3]
    assert len(list(tmp_path.iterdir())) == 1, "a full disk makes no heap of small files"


def test_after_another_error_of_the_disk_a_new_file_is_tried_and_no_empty_one_stays(tmp_path, writer, monkeypatch):
    def broken(_descriptor, _data):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(jsonlines.os, "write", broken)
    for sequence in range(1, 4):
        with pytest.raises(OSError):
            writer.write(entry(sequence))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert writer.write(entry(4)) == "sent"
    assert [line["sequence"] for line in lines(tmp_path)] == [4]
