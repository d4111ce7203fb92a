"""One process a source: the newest good frame is in the slot, and every kind of trouble is told apart and survived."""

import io
import os
import signal
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from support.capturing import Capture, wait_for
from support.rtsp_peer import RtspServer, SilentServer, free_port
from support.videos import decoded, milliseconds_ago, number_of, write_video

from edge_runtime.capture.backoff import Backoff
from edge_runtime.capture.reader import Reader
from edge_runtime.config import Video
from edge_runtime.metrics import METRICS
from edge_runtime.telemetry.metrics import RoleMetrics


@pytest.fixture
def rtsp():
    with RtspServer(free_port()) as server:
        yield server


def test_a_camera_is_seen_live_and_its_frames_carry_the_time_of_their_acquisition(tmp_path, rtsp):
    with Capture(tmp_path, url=rtsp.url) as capture:
        capture.wait_state("live")
        ages, errors = [], []
        for lease in capture.pictures(lambda: len(ages) >= 40):
            now = time.monotonic()
            ages.append(milliseconds_ago(lease.pixels, now))
            errors.append(ages[-1] - 1000 * (now - lease.header.captured_at))
            assert abs(time.time() - lease.header.captured_unix - (now - lease.header.captured_at)) < 0.5
        assert capture.connects("opened") == 1 and capture.frames("corrupt") == 0
        assert abs(np.median(errors)) < 20, "captured_at is when the picture was drawn, within half a frame"
        assert np.median(ages) < 1000
    assert capture.code == 0


def test_a_server_that_is_killed_and_comes_back_is_found_again(tmp_path):
    port = free_port()
    with Capture(tmp_path, url=f"rtsp://127.0.0.1:{port}/video") as capture:
        wait_for(lambda: capture.connects("refused"), "an attempt to reach a source that is not there")
        assert wait_for(lambda: capture.state.get("ready"), "ready"), "a missing camera is no reason to be unready"
        assert capture.is_in("connecting")
        with RtspServer(port):
            before = capture.wait_frame()
            before.release()
            capture.wait_state("live")
        capture.wait_state("connecting")
        with RtspServer(port):
            capture.wait_state("live")
            with capture.wait_frame() as lease:
                assert lease.header.sequence > before.header.sequence
        assert capture.connects("opened") >= 2


def test_a_picture_that_stands_is_told_from_one_that_is_missing(tmp_path, rtsp):
    with Capture(tmp_path, url=rtsp.url, frozen_after_seconds=1.0, silent_after_seconds=1.0) as capture:
        capture.wait_state("live")
        rtsp.tell("freeze")
        capture.wait_state("frozen")
        published = capture.frames("captured")
        counted = capture.frames("frozen")
        wait_for(lambda: capture.frames("frozen") > counted + 20, "frozen frames are counted")
        assert capture.frames("captured") == published, "and not published"
        rtsp.tell("go")
        capture.wait_state("live")
        rtsp.tell("pause")
        capture.wait_state("silent")
        rtsp.tell("go")
        capture.wait_state("live")


def test_a_server_that_accepts_and_never_answers_is_given_up_and_tried_again(tmp_path):
    with SilentServer(hang_up=False) as server, Capture(tmp_path, url=server.url) as capture:
        wait_for(lambda: server.accepted >= 2 and capture.connects("timeout"), "a second attempt")
        assert capture.is_in("connecting") and capture.state["ready"]


def test_a_file_is_replayed_at_its_own_rate_and_ends(tmp_path):
    file = write_video(tmp_path / "a.mp4", 75)
    with Capture(tmp_path, url=f"file://{file}") as capture:
        headers = [lease.header for lease in capture.pictures(lambda: capture.is_in("ended"))]
        steps = np.diff([h.captured_at for h in headers]) / np.diff([h.sequence for h in headers])
        assert np.median(steps) == pytest.approx(0.04, abs=0.002)
        assert capture.frames("captured") == 75
        assert capture.process.poll() is None, "the end of a file is no error"


def test_a_file_that_loops_begins_again(tmp_path):
    file = write_video(tmp_path / "a.mp4", 10, rate=50)
    with Capture(tmp_path, url=str(file), loop=True) as capture:
        wait_for(lambda: capture.frames("captured") > 40, "four rounds")
        capture.wait_state("live")


def test_a_fast_source_and_a_slow_reader_leave_the_newest_frame(tmp_path):
    file = write_video(tmp_path / "a.mp4", 2000, rate=1000, size=(128, 96))
    with Capture(tmp_path, url=str(file), pace="fastest") as capture:
        numbers = []
        for lease in capture.pictures(lambda: numbers and numbers[-1] == 2000):
            numbers.append(lease.header.sequence)
            assert number_of(lease.pixels) == (lease.header.sequence - 1) % 256
            time.sleep(0.05)
        assert len(numbers) < 500 and numbers == sorted(numbers)
        capture.wait_state("ended")
        assert capture.frames("captured") == 2000


def test_a_change_of_size_in_mid_stream_goes_on_with_the_new_size(tmp_path):
    small = write_video(tmp_path / "a.ts", 40, rate=50)
    large = write_video(tmp_path / "b.ts", 40, rate=50, size=(640, 480))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with Capture(tmp_path, url=str(both), columns=400) as capture:
        shapes = [lease.header.shape for lease in capture.pictures(lambda: capture.is_in("ended"))]
        assert set(shapes) == {(240, 320, 3), (300, 400, 3)}
        assert capture.number("edge_video_resolution_changes_total") == 1


def test_pictures_beyond_the_limit_are_counted_and_left_out(tmp_path):
    file = write_video(tmp_path / "a.mp4", 20, rate=50)
    with Capture(tmp_path, url=str(file), maximum_pixels=320 * 240 - 1) as capture:
        capture.wait_state("ended")
        assert capture.frames("too_large") == 20 and capture.slot.newest() is None


def test_a_program_is_read_and_started_again_when_it_dies(tmp_path):
    launch = "gst-launch-1.0 -q videotestsrc num-buffers={} pattern=ball is-live={} ! video/x-raw,framerate=25/1 !"
    endless = f"{launch.format(-1, 'true')} x264enc tune=zerolatency ! matroskamux streamable=true ! fdsink"
    with Capture(tmp_path, command=endless) as capture:
        capture.wait_state("live")
        children = _children(capture.process.pid)
        assert children
    assert not any(_alive(child) for child in children), "it is killed with its group"
    with Capture(tmp_path, command=f"{launch.format(10, 'true')} matroskamux streamable=true ! fdsink") as capture:
        wait_for(lambda: capture.connects("opened") >= 2, "the program runs again")
    with Capture(tmp_path, command="sh -c 'echo no such camera rtsp://me:secret@there/ >&2; exit 3'") as capture:
        wait_for(lambda: capture.connects("ended") >= 2, "attempts with a program that dies at once")
        assert "no such camera" in capture.log.read_text() and "secret" not in capture.log.read_text()
    with Capture(tmp_path, command="/no/such/program") as capture:
        wait_for(lambda: capture.connects("not_found") >= 2, "attempts with a program that is missing")


def test_a_damaged_file_shows_no_smeared_picture_and_goes_on_at_the_next_key_frame(tmp_path):
    sound = write_video(tmp_path / "a.mkv", 60, options={"preset": "ultrafast"}).read_bytes()
    damaged = bytearray(sound)
    with av.open(io.BytesIO(sound)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for victim in (13, 31, 44):
        start = places[victim][0] + places[victim][1] // 3
        damaged[start : start + 64] = np.random.default_rng(victim).bytes(64)
    file = tmp_path / "b.mkv"
    file.write_bytes(damaged)
    expected, smeared = decoded(sound), 0
    with Capture(tmp_path, url=str(file)) as capture:
        seen = set()
        for lease in capture.pictures(lambda: capture.is_in("ended")):
            seen.add(number_of(lease.pixels))
            smeared += int(np.abs(expected[number_of(lease.pixels)].astype(int) - lease.pixels).max()) > 2
        assert smeared == 0 and capture.frames("corrupt") == 3
        assert capture.frames("captured") == 60 - 7 - 9 - 6, "each time until the next key frame"
        assert not seen & {13, 19, 31, 39, 44, 49} and {20, 40, 59} <= seen


def test_a_stream_that_changes_its_codec_is_opened_anew(tmp_path):
    first = write_video(tmp_path / "a.ts", 25)
    other = write_video(tmp_path / "b.ts", 25, codec="mpeg2")
    script = tmp_path / "send.sh"
    script.write_text(
        f"cd {tmp_path}; if [ ! -e begun ]; then touch begun; cat {first}; fi; while cat {other}; do sleep 0.5; done"
    )
    with Capture(tmp_path, command=f"sh {script}") as capture:
        wait_for(lambda: capture.frames("captured"), "the first codec")
        wait_for(lambda: capture.connects("opened") >= 2, "another connection")
        before = capture.frames("captured")
        wait_for(lambda: capture.frames("captured") > before + 20, "the other codec")
        assert capture.frames("corrupt")


def test_a_process_that_was_held_up_shows_nothing_old_and_catches_up(tmp_path, rtsp):
    with Capture(tmp_path, url=rtsp.url, maximum_lag_seconds=0.5) as capture:
        capture.wait_state("live")
        capture.process.send_signal(signal.SIGSTOP)
        time.sleep(2.0)
        capture.process.send_signal(signal.SIGCONT)
        before, worst = capture.frames("captured"), 0.0
        for lease in capture.pictures(lambda: capture.frames("captured") > before + 30):
            now = time.monotonic()
            worst = max(worst, milliseconds_ago(lease.pixels, now) / 1000 - (now - lease.header.captured_at))
        assert capture.frames("lagging") and worst < 0.1, "what is published says how old it is"
        capture.wait_state("live")


def test_a_source_without_frames_and_one_that_is_dead_do_not_hold_up_another(tmp_path, rtsp):
    rtsp.tell("pause")
    file = write_video(tmp_path / "a.mp4", 40)
    folders = [tmp_path / name for name in ("dead", "paused", "sound")]
    for folder in folders:
        folder.mkdir()
    with (
        Capture(folders[0], url=f"rtsp://127.0.0.1:{free_port()}/") as dead,
        Capture(folders[1], url=rtsp.url) as paused,
        Capture(folders[2], url=str(file), loop=True) as sound,
    ):
        sound.wait_state("live")
        wait_for(lambda: dead.connects("refused") and dead.is_in("connecting"), "the dead one goes on trying")
        assert not paused.is_in("live") and paused.state["ready"]
        rtsp.tell("go")
        paused.wait_state("live")
        sound.wait_state("live")


def test_many_reconnections_leak_nothing():
    metrics = RoleMetrics(METRICS, {"source": ("tower",)})

    def attempts():
        return sum(value for name, _, value in metrics.snapshot() if name == "edge_video_connects_total")

    def held():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    with SilentServer(hang_up=True) as server:
        video = Video(name="tower", pipeline="p", url=server.url)
        reader = Reader(video, lambda *_: None, metrics, Backoff(first_seconds=0.01, longest_seconds=0.01))
        reader.start()
        wait_for(lambda: attempts() >= 10, "the first attempts")
        before, memory = held(), resident_bytes()
        wait_for(lambda: attempts() >= 150, "many more")
        wait_for(lambda: all(now <= then for now, then in zip(held(), before, strict=True)), "no more than before")
        assert resident_bytes() - memory < 8_000_000
        assert reader.stop(5.0) and server.accepted >= 150


def test_a_device_that_is_missing_is_tried_again(tmp_path):
    with Capture(tmp_path, url="/dev/video77") as capture:
        wait_for(lambda: capture.connects("not_found") >= 2, "a second attempt")
        assert capture.is_in("connecting")


def _children(pid):
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def _alive(pid):
    return Path(f"/proc/{pid}").exists()


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
