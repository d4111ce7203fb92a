"""What a source is, and what went wrong with it, in words that hold no address."""

import errno

import pytest

from edge_runtime.capture.source import Kind, SourceFailed, failure, kind_of, open_source
from edge_runtime.config import Video
from edge_runtime.errors import ConfigurationError
from edge_runtime.metrics import CONNECT_OUTCOMES


def video(**keys):
    return Video(name="a", pipeline="p", **keys)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("rtsp://10.1.2.3/stream", Kind.RTSP),
        ("RTSPS://u:p@camera/1", Kind.RTSP),
        ("/dev/video0", Kind.DEVICE),
        ("/data/a.mp4", Kind.FILE),
        ("file:///data/a.mp4", Kind.FILE),
        ("concat:a|b", Kind.FILE),
    ],
)
def test_the_url_says_what_a_source_is(url, kind):
    assert kind_of(video(url=url)) is kind
    assert kind_of(video(command="gst-launch-1.0 ...")) is Kind.COMMAND


def test_another_protocol_is_refused_with_the_way_out():
    with pytest.raises(ConfigurationError, match="give a command") as caught:
        kind_of(video(url="http://u:secret@camera/"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENODEV, "x"), OSError(errno.ECONNREFUSED, "x"), TimeoutError(), ValueError("rtsp://u:secret@h")],
)
def test_every_failure_has_an_outcome_and_no_address(error):
    failed = failure(error)
    assert failed.outcome in CONNECT_OUTCOMES and "secret" not in str(failed)


@pytest.mark.parametrize(("content", "outcome"), [(None, "not_found"), (b"no video", "broken"), (b"", "broken")])
def test_a_file_that_is_no_video_says_so(tmp_path, content, outcome):
    file = tmp_path / "a.mp4"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SourceFailed) as caught:
        open_source(video(url=str(file)), Kind.FILE)
    assert caught.value.outcome in (outcome, "ended") and str(tmp_path) not in str(caught.value)


def test_a_file_cannot_make_ffmpeg_read_other_files_or_the_network(tmp_path):
    secret = tmp_path / "other.mp4"
    secret.write_bytes(b"x")
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceFailed):
        open_source(video(url=str(playlist)), Kind.FILE)
