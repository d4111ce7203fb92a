"""One connection: what its pictures wait for."""

import threading

import av
import pytest
from support.videos import write_video

import edge_runtime.capture.session as session_module
from edge_runtime.capture.session import Session, Shared
from edge_runtime.capture.source import Kind, open_source
from edge_runtime.capture.watch import Limits, Watch
from edge_runtime.config import Video
from edge_runtime.metrics import METRICS
from edge_runtime.telemetry.metrics import RoleMetrics


def with_gap(folder, gap_seconds):
    """Ten frames, and the gap after the fifth."""
    sound, file = write_video(folder / "a.mkv", 10), folder / "b.mkv"
    with av.open(str(sound)) as given, av.open(str(file), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(video=0)):
            if packet.size:
                late = int(gap_seconds / packet.time_base) if number >= 5 else 0
                packet.pts, packet.dts, packet.stream = packet.pts + late, packet.dts + late, stream
                container.mux(packet)
    return file


@pytest.mark.parametrize("gap_seconds", [3600.0, 0.5])
def test_a_gap_in_the_stamps_of_a_file_is_waited_for_a_while_only(tmp_path, monkeypatch, gap_seconds):
    monkeypatch.setattr(session_module, "_LONGEST_PAUSE_SECONDS", 1.0)
    video = Video(name="a", pipeline="p", url=str(with_gap(tmp_path, gap_seconds)), maximum_lag_seconds=60.0)
    published = []
    shared = Shared(
        video,
        Watch(Limits(60.0, 60.0, 60.0)),
        lambda pixels, captured_at, unix: published.append(captured_at) or True,
        RoleMetrics(METRICS, {"source": ("a",)}),
        threading.Event(),
        threading.Lock(),
    )
    source = open_source(video, Kind.FILE)
    Session(source, shared).run()
    source.close()
    assert len(published) == 10 and published == sorted(published)
    pause_seconds = published[5] - published[4]
    assert pause_seconds == pytest.approx(0.54, abs=0.01) if gap_seconds < 1.0 else 0.99 < pause_seconds < 60.0
