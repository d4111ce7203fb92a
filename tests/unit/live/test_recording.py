"""Recorded pictures: at the time of their capture, one source and one size a file."""

import io

import pytest
from support.live_results import frame_result, number_of, numbered

from edge_runtime.errors import BackendUnavailable
from edge_runtime.live import recording
from edge_runtime.live.drawing import draw
from edge_runtime.live.recording import (
    LONGEST_GAP_SECONDS,
    RETRY_SECONDS,
    SHORTEST_FILE_SECONDS,
    RecordingWriter,
    load_av,
)
from edge_runtime.live.segments import Segments
from edge_runtime.live.sinks import Entry

av = pytest.importorskip("av")
ROWS, COLUMNS = 240, 560


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(tmp_path, clock):
    ages = {"tower-1": 0.5, "tower-2": 0.5}
    made = RecordingWriter(Segments(tmp_path, "mp4", 600.0, 10**9), ages, clock)
    yield made
    made.close()


def entry(number: int, captured_at: float, source: str = "tower-1", rows: int = ROWS) -> Entry:
    result = frame_result(
        source, number + 1, captured_at=captured_at, captured_unix=1795406400.0 + captured_at, concluded_at=captured_at,
        rows=rows, columns=COLUMNS,
    )  # fmt: skip
    return Entry(result, draw(numbered(number, rows, COLUMNS), result, captured_at + 0.04))


def read(path_or_file) -> list[tuple[float, int]]:
    """Time in the file and number of each frame."""
    with av.open(path_or_file) as container:
        stream = container.streams.video[0]
        return [
            (round(float(frame.pts * stream.time_base), 3), number_of(frame.to_ndarray(format="rgb24"), COLUMNS))
            for frame in container.decode(stream)
        ]


def test_pictures_keep_their_times_and_a_gap_stays_a_gap(tmp_path, writer, clock):
    times = [0.0, 0.04, 0.08, 0.081, 3.0, 3.04]
    for number, seconds in enumerate(times):
        clock.now = 1000.0 + seconds + 0.05
        assert writer.write(entry(number, 1000.0 + seconds)) == "sent"
    writer.close()
    (path,) = tmp_path.iterdir()
    assert read(str(path)) == list(zip(times, range(6), strict=True))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.name == "tower-1-20261123T041640.000.mp4"
    with av.open(str(path)) as container:
        assert "NOT FOR DIAGNOSIS" in container.metadata["comment"]
        assert container.metadata["creation_time"].startswith("2026-11-23T04:16:40")


def test_sources_are_not_mixed(tmp_path, writer, clock):
    for number in range(10):
        clock.now = 1000.0 + number * 0.04
        for offset, source in ((0, "tower-1"), (500, "tower-2")):
            writer.write(entry(number + offset, clock.now, source))
    writer.close()
    for offset, source in ((0, "tower-1"), (500, "tower-2")):
        (path,) = tmp_path.glob(f"{source}-*.mp4")
        assert [number for _, number in read(str(path))] == [number + offset for number in range(10)]


def test_what_was_never_shown_as_live_is_not_recorded(tmp_path, writer, clock):
    result = frame_result(captured_at=clock.now - 0.6, concluded_at=clock.now)
    assert writer.write(Entry(result, None)) == "stale"
    result = frame_result(captured_at=clock.now - 0.1, concluded_at=clock.now)
    assert writer.write(Entry(result, None)) == "lost"
    assert list(tmp_path.iterdir()) == []


def test_another_size_a_long_gap_and_time_begin_a_new_file(tmp_path, writer, clock):
    moments = [0.0, 0.04, 3.0, 5.0, 5.0 + LONGEST_GAP_SECONDS + 0.1]
    heights = [ROWS, ROWS, ROWS * 2, ROWS * 2, ROWS * 2]
    for number, (seconds, rows) in enumerate(zip(moments, heights, strict=True)):
        clock.now = 1000.0 + seconds
        assert writer.write(entry(number, clock.now, rows=rows)) == "sent"
    for second in range(1, 80):
        clock.now = 1000.0 + moments[-1] + second * 9
        writer.write(entry(100 + second, clock.now, rows=ROWS * 2))
    writer.close()
    files = sorted(tmp_path.iterdir())
    assert [len(read(str(path))) for path in files] == [2, 2, 67, 13]
    assert len({number for path in files for _, number in read(str(path))}) == 84


def test_a_size_that_changes_with_every_picture_makes_no_heap_of_files(tmp_path, writer, clock):
    outcomes = []
    for number in range(250):
        clock.now = 1000.0 + number * 0.04
        outcomes.append(writer.write(entry(number, clock.now, rows=ROWS * (1 + number % 2))))
    writer.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 10.0 / SHORTEST_FILE_SECONDS
    numbers = [number for path in files for _, number in read(str(path))]
    assert numbers == [number for number, outcome in enumerate(outcomes) if outcome == "sent"]
    assert outcomes.count("lost") == 250 - len(numbers) <= 130


def test_a_picture_that_is_not_newer_is_left_out(tmp_path, writer, clock):
    assert writer.write(entry(1, 1000.0)) == "sent"
    assert writer.write(entry(2, 1000.0)) == "lost"


def test_the_file_is_whole_at_every_moment_but_for_the_last_second(tmp_path, writer, clock):
    for number in range(100):
        clock.now = 1000.0 + number * 0.04
        writer.write(entry(number, clock.now))
        if number % 33 == 32:
            (path,) = tmp_path.iterdir()
            found = [each for _, each in read(io.BytesIO(path.read_bytes()))]
            assert found == list(range(len(found))) and number - len(found) < 26


def test_after_an_error_of_the_disk_it_waits_and_tries_a_new_file(tmp_path, writer, clock, monkeypatch):
    def full(_descriptor, data):
        raise OSError(28, "full")

    for number in range(60):
        clock.now += 0.04
        writer.write(entry(number, clock.now))
    monkeypatch.setattr(recording.os, "write", full)
    outcomes = []
    with pytest.raises(OSError):
        for number in range(60, 120):
            clock.now += 0.04
            outcomes.append(writer.write(entry(number, clock.now)))
    assert len(outcomes) <= 27, "what is with the encoder is about a second"
    assert writer.write(entry(200, clock.now + 0.04)) == "failed"
    monkeypatch.undo()
    clock.now += RETRY_SECONDS
    assert writer.write(entry(201, clock.now)) == "sent"
    writer.close()
    files = sorted(tmp_path.iterdir())
    assert [number for _, number in read(str(files[0]))][:26] == list(range(26))
    assert [number for _, number in read(str(files[-1]))] == [201]


def test_without_pyav_the_message_names_the_extra(monkeypatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(recording.importlib, "import_module", missing)
    with pytest.raises(BackendUnavailable, match=r"edge-runtime\[video\]"):
        load_av()
