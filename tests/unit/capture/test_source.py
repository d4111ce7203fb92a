"""What a source is, and what went wrong with it, in words that hold no address."""

import errno
from types import SimpleNamespace

import pytest
from av.stream import Disposition
from support.videos import write_video

import edge_runtime.capture.source as source_module
from edge_runtime.capture.source import Kind, SourceFailed, failure, kind_of, open_source
from edge_runtime.config import Video
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
    with pytest.raises(ValueError, match="give a command") as caught:
        video(url="http://u:secret@camera/")
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
    assert ("no file there" in str(caught.value)) == (content is None)


def test_a_file_cannot_make_ffmpeg_read_other_files_or_the_network(tmp_path):
    secret = tmp_path / "other.mp4"
    secret.write_bytes(b"x")
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceFailed):
        open_source(video(url=str(playlist)), Kind.FILE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.mp4", "ffconcat version 1.0\nfile other.mp4\n"),
        ("c.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
        ("d.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXTINF:20,\nother.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_a_file_that_names_others_is_no_video(tmp_path, name, content):
    for other in ("other.mp4", "other.ts"):
        write_video(tmp_path / other, 5)
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceFailed, match="broken"):
        open_source(video(url=str(tmp_path / name)), Kind.FILE)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mpg", "a.nut", "a.flv", "a.h264", "a.mjpeg"])
def test_ordinary_containers_are_read(tmp_path, name):
    codec = {"a.mpg": "mpeg2", "a.mjpeg": "mjpeg"}.get(name, "h264")
    source = open_source(video(url=str(write_video(tmp_path / name, 5, codec=codec))), Kind.FILE)
    assert next(source.container.demux(source.stream)).size
    source.close()


def test_a_stream_whose_codec_ffmpeg_does_not_know_is_no_video_and_is_closed(tmp_path, monkeypatch):
    content = write_video(tmp_path / "a.mp4", 5).read_bytes()
    (tmp_path / "b.mp4").write_bytes(content.replace(b"avc1", b"zzz1"))
    opened = []
    sound = source_module._open
    monkeypatch.setattr(source_module, "_open", lambda *given: opened.append(sound(*given)) or opened[-1])
    with pytest.raises(SourceFailed) as caught:
        open_source(video(url=str(tmp_path / "b.mp4")), Kind.FILE)
    assert caught.value.outcome == "no_video"
    with pytest.raises(AssertionError, match="not open"):
        list(opened[0].demux())


def test_the_picture_on_the_cover_and_an_unknown_codec_are_not_the_video():
    cover = SimpleNamespace(codec_context=object(), disposition=Disposition.attached_pic)
    unknown = SimpleNamespace(codec_context=None, disposition=Disposition(0))
    film = SimpleNamespace(codec_context=object(), disposition=Disposition.default)
    container = SimpleNamespace(streams=SimpleNamespace(video=[cover, unknown, film]))
    assert source_module._video_stream(container) is film
