"""What the case `camera` makes of lines and moments, and the watch that sees lines."""

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.live import camera_case
from benchmarks.live.camera import Camera, why_no_camera, write_pictures
from benchmarks.live.camera_result import (
    Result,
    Said,
    Turn,
    compare_answers,
    edge_said,
    parts_of,
    peer_said,
    turn_of,
)
from benchmarks.live.camera_server import draw
from benchmarks.live.line_watch import LineWatch
from benchmarks.live.networks import NUMBER_BITS
from benchmarks.live.waterfall import MADE, RECEIVED, WRITTEN, add_parts, spans_of
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios import camera
from benchmarks.scenarios.live_schema import Video

BOX = (10, 20, 40, 60)
ROWS, COLUMNS = 360, 640


def edge_line(number=5, **changes):
    bits = [
        {"stage": "number", "label": f"bit-{k}", "answer": "positive" if number >> k & 1 else "negative", "box": None}
        for k in range(NUMBER_BITS)
    ]
    found = {"stage": "find", "label": "disc", "answer": "positive",
             "box": dict(zip(("top", "left", "bottom", "right"), BOX, strict=True))}  # fmt: skip
    stages = [{"name": "find", "seconds": 0.02, "outcome": "ran"}, {"name": "x", "seconds": 0.0, "outcome": "skipped"}]
    told = {"findings": [*bits, found], "stages": stages, "captured": "1970-01-01T00:01:40.250Z", "age_seconds": 0.03}
    return json.dumps({**told, **changes}).encode()


def turn(*numbers, boxes=(BOX,), latency=0.05):
    return Turn(len(numbers), tuple(Result(0.0, latency, Said(number, boxes)) for number in numbers))


def test_a_line_of_the_daemon_names_its_frame_by_the_bits_that_are_positive():
    assert edge_said(edge_line(40_961)) == Said(40_961, (BOX,), {"find": 0.02}, 100.25, 0.03)


def test_a_line_of_the_peer_names_its_frame():
    assert peer_said(b'{"number": 7, "boxes": [[10, 20, 40, 60]], "pixels": [3]}') == Said(7, (BOX,))


def test_a_latency_counts_from_the_making_of_the_frame_whose_number_was_read():
    made = {65_537: 10.0, 65_538: 10.04, 65_539: 10.08}
    lines = [(9.0, Said(0, ())), (10.05, Said(1, ())), (10.2, Said(3, ()))]
    found = turn_of(made, lines)
    assert found.frames == 3
    assert found.latencies == pytest.approx([0.05, 0.12])
    assert (found.within(0.1), found.within(0.2)) == (1, 2)


def test_two_results_of_one_frame_or_none_at_all_are_no_measurement():
    with pytest.raises(BenchFailed, match="name the same frame"):
        turn_of({1: 10.0}, [(10.1, Said(1, ())), (10.2, Said(1, ()))])
    with pytest.raises(BenchFailed, match="none of 1 frames has a result; 1 lines"):
        turn_of({1: 10.0}, [(10.1, Said(2, ()))])


def test_systems_that_find_the_same_on_most_frames_do_the_same_work():
    near = ((20, 30, 50, 70),)
    assert compare_answers("opencv", turn(0, 1, 2), turn(4, 5, 6, boxes=near), 4) == 1.0
    mostly = Turn(3, (*turn(0, 4).results, *turn(8, boxes=()).results))
    assert compare_answers("opencv", mostly, turn(12), 4) == 1.0


@pytest.mark.parametrize("boxes", [(), (BOX, BOX), ((200, 20, 240, 60),)])
def test_systems_that_find_something_else_are_not_compared(boxes):
    with pytest.raises(BenchFailed, match="edge and opencv agree on 0 of 2 pictures"):
        compare_answers("opencv", turn(0, 1), turn(0, 1, boxes=boxes), 4)
    with pytest.raises(BenchFailed, match="0 of 0"):
        compare_answers("opencv", turn(0), turn(1), 4)


seconds = st.floats(0, 1, allow_nan=False)


@given(seconds, seconds, st.lists(seconds, max_size=4), seconds, st.floats(-1, 1))
def test_the_parts_of_a_latency_add_up_to_it_whatever_the_clocks_say(reached, rest, stages, written, wrong):
    named = {f"stage-{k}": one for k, one in enumerate(stages)}
    age = rest + sum(stages)
    latency = reached + age + written
    said = Said(1, (), named, 1000.0 + reached + wrong, age)
    found = parts_of(Result(5.0, 5.0 + latency, said), 1000.0)
    assert sum(found.values()) == pytest.approx(latency, abs=1e-6)
    assert min(found.values()) >= 0
    assert list(found) == [MADE, RECEIVED, *named, WRITTEN]
    spans = spans_of(found)
    assert spans[0].begin_seconds == 0 and spans[-1].end_seconds == pytest.approx(latency, abs=1e-6)


def test_the_time_line_is_of_the_frame_in_the_middle_of_the_first_round():
    record = Record({}, reduced=False)
    add_parts(record, "camera/edge", [{"a": 0.003}, {"a": 0.001}, {"a": 0.001, "b": 0.001}])
    add_parts(record, "camera/edge", [{"a": 0.009}])
    (line,) = record.timelines
    assert [span["name"] for span in line["spans"]] == ["a", "b"]
    assert record.stages["camera/edge"] == {"a": [3, 1, 1, 9], "b": [1]}


def test_a_frame_without_a_result_has_missed_its_deadline():
    record = Record({}, reduced=False)
    late = Turn(4, (*turn(0, 1, latency=0.05).results, *turn(2, latency=0.2).results))
    camera.add_turn(record, "edge", late, 0.1)
    camera.add_turn(record, "opencv", turn(0, 1, latency=0.1), 0.1)
    camera.add_ratios(record, ("edge", "opencv"))
    found = {name: figure.samples[-1] for name, figure in record.figures.items()}
    assert found["camera/edge, in time"] == 0.5
    assert found["camera/edge : opencv, p50"] == pytest.approx(0.5)
    assert found["camera/edge : opencv, p99"] == pytest.approx(2.0)
    deadline, latencies = record.deadlines["camera/edge"], record.latencies["camera/edge"]
    assert (deadline.counted, deadline.missed, latencies.unanswered) == (4, 2, 1)


def test_a_camera_that_cannot_run_is_a_problem_of_the_result(monkeypatch):
    record = Record({}, reduced=False)
    monkeypatch.setattr(camera_case, "why_no_camera", lambda: "No module named 'gi'")
    assert camera.begin_camera(Video(kind="video"), 50.0, None, None, record, None) is None
    assert camera.begin_camera(Video(kind="video", pipeline="endoscopy"), 50.0, None, None, record, None) is None
    assert "No module named 'gi'; install it: apt install" in record.problems[0]
    assert "decodes the networks" in record.problems[1]
    assert camera.begin_camera(Video(kind="video"), 15.0, None, None, record, None) is None
    assert "a frame takes 67 ms: a deadline of 100 ms leaves no room" in record.problems[2]
    assert camera.begin_camera(Video(kind="video", camera=False), 50.0, None, None, Record({}, False), None) is None


def test_without_opencv_its_loops_are_left_out_and_said_to_be(monkeypatch):
    record = Record({}, reduced=False)
    monkeypatch.setattr(camera_case.importlib.util, "find_spec", lambda _: None)
    assert camera_case.measured_systems(record) == ("edge",)
    assert [problem.partition(":")[0] for problem in record.problems] == [
        "peer opencv was not measured",
        "peer fifo was not measured",
    ]


def test_lines_are_seen_when_they_are_whole_and_none_twice(tmp_path):
    with LineWatch(tmp_path) as watch:
        before = time.monotonic()
        with (tmp_path / "a.jsonl").open("a", buffering=1) as out, (tmp_path / "b.txt").open("w") as other:
            out.write("one\ntw")
            other.write("not a line\n")
            out.flush()
            wait_for(lambda: len(watch.lines()) == 1)
            out.write("o\n")
            wait_for(lambda: len(watch.lines()) == 2)
        found = watch.lines()
    assert [line for _, line in found] == [b"one", b"two"]
    assert before <= found[0][0] <= found[1][0] <= time.monotonic()


def wait_for(holds):
    give_up_at = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def test_the_number_is_drawn_above_the_picture_one_bit_a_block():
    picture = bytearray(b"\x50" * (ROWS * COLUMNS * 3 // 2))
    draw(picture, 0b101, ROWS, COLUMNS, NUMBER_BITS)
    luma = np.frombuffer(picture, np.uint8)[: ROWS * COLUMNS].reshape(ROWS, COLUMNS)
    blocks = luma[:8].reshape(8, NUMBER_BITS, -1)
    assert (blocks[:, [0, 2]] == 235).all() and (blocks[:, [1, *range(3, NUMBER_BITS)]] == 16).all()
    assert (luma[8:] == 0x50).all()


@pytest.mark.skipif(why_no_camera() is not None, reason=f"no camera: {why_no_camera()}")
def test_the_camera_serves_numbered_frames_and_says_when_each_was_made(tmp_path):
    av = pytest.importorskip("av")
    frames = np.full((3, ROWS, COLUMNS, 3), 90, np.uint8)
    with Camera(write_pictures(tmp_path / "pictures", frames), ROWS, COLUMNS, 25.0) as server:
        seen = []
        with av.open(server.url, options={"rtsp_transport": "tcp"}, timeout=(5.0, 5.0)) as stream:
            for frame in stream.decode(video=0):
                line = frame.to_ndarray(format="gray")[4].reshape(NUMBER_BITS, -1).mean(axis=1) > 128
                seen.append((sum(int(bit) << k for k, bit in enumerate(line)), time.monotonic()))
                if len(seen) == 10:
                    break
        made = server.made(0.0, time.monotonic())
    numbers = [number for number, _ in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 10))
    assert all(made[number] < at for number, at in seen)
    assert server.made(0.0, 1.0) == {}
