"""The role `live` as a process: what it shows, what it writes, and what it does when it, a disk or a peer fails."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import av
import pytest
from support.live_results import COLUMNS, number_of
from support.live_role import SOURCES, LiveRole
from support.mosquitto import Listener, Mosquitto
from support.mounts import mounted
from support.pacs import full_backlog

FRAME_SECONDS = 0.04


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "site"


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def jsonlines(path: Path, **keys) -> dict:
    return {"name": "lines", "type": "jsonlines", "path": str(path), **keys}


def recording(path: Path, **keys) -> dict:
    return {"name": "tape", "type": "recording", "path": str(path), **keys}


def play(role: LiveRole, numbers: range, sources=SOURCES) -> None:
    """Frames of the sources at their own rate; those of the second have 500 added to their numbers."""
    for number in numbers:
        for source in sources:
            role.send(role.capture(source, number + (500 if source == SOURCES[1] else 0)))
        time.sleep(FRAME_SECONDS)


def test_the_newest_frame_of_each_source_is_shown_and_nothing_is_mixed(folder):
    with LiveRole(folder) as role:
        for number in range(1, 40):
            for source, base in zip(SOURCES, (0, 500), strict=True):
                role.send(role.capture(source, base + number))
            for source, base in zip(SOURCES, (0, 500), strict=True):
                role.wait(lambda source=source, n=base + number: (role.picture(source) or ({}, -1))[1] == n)
                said, shown = role.picture(source)
                assert (said["source"], said["notes"]) == (source, [f"frame {shown}"])
        assert role.stop() == 0
    drawn = [role.count("edge_live_pictures_total", source, "drawn") for source in SOURCES]
    assert drawn == [39, 39]
    assert role.count("edge_frame_display_seconds", SOURCES[0]) == 39


def test_no_frame_older_than_its_age_is_shown(folder):
    with LiveRole(folder) as role:
        role.send(role.capture("tower-1", 1))
        role.wait(lambda: role.picture("tower-1") is not None)
        role.send(role.capture("tower-1", 2, age_seconds=2.01))
        role.wait(lambda: role.count("edge_live_pictures_total", "tower-1", "stale") == 1)
        assert role.picture("tower-1")[1] == 1
        role.send(role.capture("tower-1", 3, age_seconds=0.1))
        role.wait(lambda: role.picture("tower-1")[1] == 3)


def test_after_a_pause_of_the_process_no_backlog_is_worked_off(folder):
    """It was held up (as by a machine without memory) while 20 s of results came in: what is shown next is new."""
    out = folder / "out"
    with LiveRole(folder, [jsonlines(out)], display_age_seconds=0.5) as role:
        role.send(role.capture("tower-1", 1))
        role.wait(lambda: role.picture("tower-1") is not None)
        role.process.send_signal(19)
        sent = 500 - role.send(*(role.capture("tower-1", 100 + number % 100, 0.6) for number in range(500)))
        role.process.send_signal(18)
        role.wait(lambda: role.count("edge_live_results_total", "lines", "sent") > 1)
        fresh = role.capture("tower-1", 999)
        role.send(fresh)
        role.wait(lambda: role.picture("tower-1")[1] == 999)
        assert role.stop() == 0
    assert role.count("edge_live_pictures_total", "tower-1", "drawn") == 2
    unshown = [role.count("edge_live_pictures_total", "tower-1", outcome) for outcome in ("stale", "overwritten")]
    assert sum(unshown) == sent
    outcomes = [role.count("edge_live_results_total", "lines", outcome) for outcome in ("sent", "lost")]
    assert sum(outcomes) == sent + 2 and len(lines(out)) == outcomes[0]
    assert lines(out)[-1]["sequence"] == fresh.sequence


def test_destinations_that_hang_or_fail_hold_up_neither_the_picture_nor_each_other(folder):
    out = folder / "out"
    with full_backlog() as port:
        hanging = {"name": "away", "type": "mqtt", "host": "127.0.0.1", "port": port, "topic": "x"}
        broken = {"name": "broken", "type": "recording", "path": "/proc/no"}
        with LiveRole(folder, [hanging, broken, jsonlines(out)]) as role:
            play(role, range(50), sources=SOURCES[:1])
            role.wait(lambda: role.count("edge_live_results_total", "lines", "sent") == 50)
            role.wait(lambda: role.picture("tower-1")[1] == 49)
            role.wait(lambda: role.count("edge_live_results_total", "broken", "failed") > 0)
            pictures = {o: role.count("edge_live_pictures_total", "tower-1", o) for o in ("drawn", "stale")}
            assert pictures["stale"] == 0 and pictures["drawn"] > 25
            assert role.count("edge_live_results_total", "away", "sent") == 0
            role.kill()
    assert len(lines(out)) == 50


def read(path: Path) -> list[tuple[float, int]]:
    """Time and number of each frame, as a player shows them: up to a last fragment that may be torn."""
    found = []
    with av.open(str(path)) as container, contextlib.suppress(av.error.InvalidDataError):
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            number = number_of(frame.to_ndarray(format="rgb24"), COLUMNS)
            found.append((float(frame.pts * stream.time_base), number))
    return found


def test_what_a_killed_process_has_recorded_can_be_played_and_the_next_one_goes_on(folder):
    tape, out = folder / "tape", folder / "out"
    with LiveRole(folder, [recording(tape), jsonlines(out)]) as role:
        play(role, range(100))
        role.kill()
        killed = set(tape.iterdir())
        role.start()
        play(role, range(100, 140))
        role.wait(lambda: role.picture("tower-1")[1] == 139)
        assert role.stop() == 0
    assert len(killed) == 2 and len(list(tape.iterdir())) == 4
    for source, base in zip(SOURCES, (0, 500), strict=True):
        first, second = sorted(tape.glob(f"{source}-*.mp4"), key=lambda path: path.stat().st_mtime_ns)
        numbers = [number - base for _, number in read(first)]
        assert numbers == sorted(set(numbers)) and set(numbers) <= set(range(100)) and len(numbers) > 20
        times = [seconds for seconds, _ in read(first)]
        assert times == sorted(times)
        assert [number - base for _, number in read(second)][-1] == 139, "one that was stopped is there to its end"
        sequences = [line["sequence"] for line in lines(out) if line["source"] == source]
        assert sequences == sorted(sequences) and set(range(101, 141)) <= set(sequences)


def test_a_full_disk_is_counted_and_tried_again_and_the_picture_goes_on(folder, tmp_path):
    with mounted(tmp_path / "small", "size=200k") as small:
        ballast = small / "ballast"
        with LiveRole(folder, [jsonlines(small / "lines"), recording(small / "tape")]) as role:
            play(role, range(30), sources=SOURCES[:1])
            role.wait(lambda: role.count("edge_live_results_total", "lines", "sent") == 30)
            with ballast.open("wb") as file, pytest.raises(OSError):
                file.write(b"x" * 400_000)
                file.flush()
            play(role, range(30, 90), sources=SOURCES[:1])
            role.wait(lambda: role.count("edge_live_results_total", "lines", "failed") > 0)
            role.wait(lambda: role.count("edge_live_results_total", "tape", "failed") > 0)
            role.wait(lambda: role.picture("tower-1")[1] == 89)
            assert role.count("edge_destination_up", "lines") == 0.0
            ballast.unlink()
            sent = role.count("edge_live_results_total", "lines", "sent")
            play(role, range(90, 120), sources=SOURCES[:1])
            role.wait(lambda: role.count("edge_live_results_total", "lines", "sent") >= sent + 30)
            assert role.count("edge_destination_up", "lines") == 1.0
            assert role.log.count("results do not reach the destination") <= 4, "told once for each trouble"
            sequences = [line["sequence"] for line in lines(small / "lines")]
            assert len(sequences) == role.count("edge_live_results_total", "lines", "sent"), "every line is whole"
            assert sequences[-1] == 120
            first = min((small / "tape").glob("*.mp4"), key=lambda path: path.name)
            assert [number for _, number in read(first)][:20] == list(range(20))


def test_what_the_broker_hears_is_what_was_said_of_each_source(folder, tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    keys = {"name": "bus", "type": "mqtt", "host": "127.0.0.1", "port": broker.port, "topic": "site/or1"}
    with broker.running(), Listener(broker.port).listening() as listener, LiveRole(folder, [keys]) as role:
        role.wait(lambda: listener.states("site/or1") == ["online"])
        play(role, range(25))
        role.wait(lambda: len(listener.of("site/or1/tower-2")) == 25)
        for source in SOURCES:
            documents = [heard.document for heard in listener.of(f"site/or1/{source}")]
            assert {document["source"] for document in documents} == {source}
            assert [document["sequence"] for document in documents] == list(range(1, 26))
        role.kill()
        role.wait(lambda: listener.states("site/or1") == ["online", "offline"])
        role.start()
        role.wait(lambda: listener.states("site/or1")[-1] == "online")
        assert role.stop() == 0
        role.wait(lambda: listener.states("site/or1")[-1] == "offline")
