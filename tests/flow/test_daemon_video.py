"""The whole daemon with live video: frames in, overlay, lines, recording and key frames out; studies beside it."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pydicom
import pytest
from support.endoscopes import build_live_engines, lines_of, site_pipelines, write_clip, write_site
from support.pacs import wait_until
from support.site import ball_series, send_series

from benchmarks.daemon import Daemon

pytestmark = pytest.mark.peer
LONG = 60.0


@pytest.fixture(scope="session")
def live_engines(tmp_path_factory):
    return build_live_engines(tmp_path_factory.mktemp("live-engines"))


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "disc.mp4", 8)


@pytest.fixture
def start(tmp_path, live_engines, clip, out):
    """Start a daemon with changes to its configuration; stopped at the end."""
    running = []

    def begin(url=clip, **changes):
        config = write_site(tmp_path / "site.yaml", live_engines, out, url, **changes)
        daemon = Daemon(config, tmp_path / "spool")
        running.append(daemon)
        daemon.start()
        return daemon

    yield begin
    for daemon in running:
        if daemon.process.poll() is None:
            daemon.stop()


def frames(daemon, outcome, source="tower"):
    return daemon.metric("edge_video_frames_total", source=source, outcome=outcome)


def drawn(daemon):
    return daemon.metric("edge_live_pictures_total", source="tower", outcome="drawn")


def video(daemon, *words):
    command = [sys.executable, "-m", "edge_runtime.cli", "video", words[0], str(daemon.config), *words[1:]]
    done = subprocess.run(
        [*command, "--set", f"spool.path={daemon.spool}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pictures(daemon, count, source="tower"):
    """The next pictures of the live page: their JSON and JPEG."""
    found = []
    with socket.create_connection(("127.0.0.1", daemon.http_port), timeout=20) as connection:
        connection.sendall(f"GET /live/{source} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stream = connection.makefile("rb")
        while stream.readline().strip():
            continue
        while len(found) < count:
            (length,) = struct.unpack("<I", stream.read(4))
            record = stream.read(length)
            if record[:1] == b"P":
                size = int.from_bytes(record[1:5], "little")
                found.append((json.loads(record[5 : 5 + size]), record[5 + size :]))
    return found


def test_frames_become_pictures_lines_a_recording_and_key_frames_of_the_open_examination(start, out):
    daemon = start()
    daemon.wait_ready()
    wait_until(lambda: frames(daemon, "in_time") > 20, LONG)
    video(daemon, "begin", "tower", "--patient-id", "P1", "--patient-name", "Doe^Jane")
    wait_until(lambda: len(list((out / "disk").glob("*.json"))) >= 2, LONG)
    video(daemon, "end", "tower")
    pids = list(daemon.role_pids().values())
    assert len(pids) >= 6
    said, jpeg = pictures(daemon, 3)[-1]
    assert said["source"] == "tower" and said["complete"] and jpeg[:2] == b"\xff\xd8"
    assert {finding["answer"] for finding in said["findings"] if finding["stage"] == "outline"} == {"positive"}
    assert daemon.stop() == 0
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []
    lines = lines_of(out)
    numbers = [line["sequence"] for line in lines]
    assert numbers == sorted(set(numbers)) and len(numbers) > 20
    assert all(line["age_seconds"] <= 0.5 and line["complete"] for line in lines)
    assert list((out / "recording").glob("*.mp4"))
    for path in (out / "disk").glob("*.dcm"):
        written = pydicom.dcmread(path)
        assert (written.PatientID, str(written.PatientName)) == ("P1", "Doe^Jane")
    assert {pydicom.dcmread(path).Modality for path in (out / "disk").glob("*frame.dcm")} == {"ES"}


def test_whichever_process_is_killed_frames_go_on_and_their_numbers_too(start, out):
    daemon = start()
    daemon.wait_ready()
    for victim in ("capture-tower", "infer", "live"):
        before = frames(daemon, "in_time")
        wait_until(lambda before=before: frames(daemon, "in_time") > before + 10, LONG)
        pid = daemon.role_pids()[victim]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda v=victim, pid=pid: daemon.role_pids().get(v, pid) != pid, LONG)
        wait_until(lambda: daemon.get("/readyz")[0] == 200, LONG)
        shown = drawn(daemon)
        wait_until(lambda shown=shown: drawn(daemon) > shown + 5, LONG)
        assert daemon.metric("edge_role_restarts_total", role=victim.partition("-")[0]) == 1
    daemon.stop()
    numbers = [line["sequence"] for line in lines_of(out)]
    assert numbers == sorted(set(numbers))


def test_a_source_that_was_never_there_stops_neither_the_daemon_nor_another_source(start, out, clip, tmp_path):
    towers = [
        {"name": "tower", "url": str(clip), "pipeline": "endoscopy", "deadline_seconds": 0.5, "loop": True},
        {"name": "absent", "url": str(tmp_path / "none.mp4"), "pipeline": "endoscopy", "deadline_seconds": 0.5},
        {"name": "refusing", "url": "rtsp://127.0.0.1:1/x", "pipeline": "endoscopy", "deadline_seconds": 0.5},
    ]  # fmt: skip
    daemon = start(video=towers)
    daemon.wait_ready()
    wait_until(lambda: frames(daemon, "in_time") > 20, LONG)
    wait_until(lambda: daemon.metric("edge_video_connects_total", source="refusing") >= 2, LONG)
    assert daemon.metric("edge_video_state", source="absent", state="live") == 0
    assert daemon.metric("edge_role_restarts_total", role="capture") == 0


def test_after_a_stall_of_inference_nothing_old_is_sent_and_frames_go_on(start, out):
    daemon = start()
    daemon.wait_ready()
    wait_until(lambda: frames(daemon, "in_time") > 20, LONG)
    pid = daemon.role_pids()["infer"]
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.0)
    os.kill(pid, signal.SIGCONT)
    before = frames(daemon, "in_time")
    wait_until(lambda: frames(daemon, "in_time") > before + 30, LONG)
    assert frames(daemon, "superseded") >= 20
    daemon.stop()
    lines = lines_of(out)
    assert max(line["age_seconds"] for line in lines) <= 0.5
    assert max(np.diff([line["sequence"] for line in lines])) >= 20


def test_with_the_processor_taken_by_others_what_is_sent_is_still_in_time(start, out):
    daemon = start(schedule={"studies": "worker"})
    daemon.wait_ready()
    wait_until(lambda: frames(daemon, "in_time") > 20, LONG)
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        time.sleep(4.0)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    before = frames(daemon, "in_time")
    wait_until(lambda: frames(daemon, "in_time") > before + 30, LONG)
    daemon.stop()
    assert max(line["age_seconds"] for line in lines_of(out)) <= 0.5


@pytest.mark.parametrize("where", ["shared", "worker"])
def test_studies_are_analysed_beside_live_frames_and_those_past_their_deadline_are_promoted(
    start, out, tmp_path, where
):
    pipelines = site_pipelines()
    pipelines[1]["deadline_seconds"] = 0.001
    daemon = start(schedule={"studies": where}, pipelines=pipelines)
    daemon.wait_ready()
    assert ("studies" in daemon.role_pids()) == (where == "worker")
    for number in range(3):
        send_series(ball_series(f"study-{number}"), tmp_path / f"send-{number}", daemon)
    wait_until(lambda: len(list((out / "disk").glob("*.json"))) == 3, LONG)
    before = frames(daemon, "in_time")
    wait_until(lambda: frames(daemon, "in_time") > before + 20, LONG)
    assert [job["state"] for job in daemon.jobs()] == ["delivered"] * 3
    if where == "shared":
        assert daemon.metric("edge_schedule_promotions_total", pipeline="find-ball") == 3


def test_a_silent_broker_and_many_viewers_hold_up_nothing(start, out, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        port = silent.getsockname()[1]
        mute = {"name": "broker", "type": "mqtt", "host": "127.0.0.1", "port": port, "topic": "t"}
        lines = {"name": "lines", "type": "jsonlines", "path": str(out / "lines")}
        disk = {"name": "disk", "type": "folder", "path": str(out / "disk")}
        pipelines = site_pipelines()
        pipelines[0]["send_to"] = ["broker", "lines"]
        daemon = start(pipelines=pipelines, destinations=[mute, lines, disk])
        daemon.wait_ready()
        wait_until(lambda: drawn(daemon) > 10, LONG)
        seen = []
        viewers = [threading.Thread(target=lambda: seen.append(pictures(daemon, 5))) for _ in range(4)]
        for viewer in viewers:
            viewer.start()
        for viewer in viewers:
            viewer.join()
        wait_until(lambda: daemon.metric("edge_live_results_total", destination="lines", outcome="sent") > 30, LONG)
        assert daemon.metric("edge_live_results_total", destination="broker", outcome="sent") == 0
        send_series(ball_series("other", Modality="MR"), tmp_path / "send", daemon)
        wait_until(lambda: daemon.metric("edge_instances_indexed_total", outcome="unmatched") > 0, LONG)
        assert daemon.jobs() == []  # a pipeline for video takes no series that it does not ask for
    assert len(seen) == 4
    for shown in seen:
        numbers = [said["sequence"] for said, _ in shown]
        assert numbers == sorted(set(numbers))
