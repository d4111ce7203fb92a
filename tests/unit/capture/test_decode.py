"""What is damaged is told, and no smeared picture comes out of it."""

import io

import av
import av.logging
import numpy as np
import pytest
from support.videos import decoded, number_of, write_video

from edge_runtime.capture.decode import Decoder
from edge_runtime.capture.h264 import FrameNumbers

pytestmark = pytest.mark.slow

FRAMES = 40  # a key frame every ten
CAVLC = {"preset": "ultrafast"}


def packets(content):
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        yield stream
        yield from container.demux(stream)


def feed(content, change=lambda _number, packet: packet):
    """The numbers of what came out, how often damage was told, and how many pictures differ from the sound file's."""
    stream, *rest = packets(content)
    decoder = Decoder(stream, 1_000_000)
    sound = decoded(content)
    shown, damaged, smeared = [], 0, 0
    for number, packet in enumerate(rest):
        changed = change(number, packet) if packet.size else packet
        frames, hurt = decoder.feed(changed) if changed is not None else ([], False)
        damaged += hurt
        for frame in frames:
            picture = frame.to_ndarray(format="rgb24")
            shown.append(number_of(picture))
            expected = sound.get(shown[-1])
            smeared += expected is None or int(np.abs(expected.astype(int) - picture).max()) > 2
    return shown, damaged, smeared


def altered(packet, content):
    changed = av.Packet(content)
    changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
    changed.is_keyframe = packet.is_keyframe
    return changed


@pytest.fixture(scope="module", params=["h264", "cavlc", "bframes", "intra-refresh", "h265", "annexb", "transport"])
def content(request, tmp_path_factory):
    options = {"cavlc": CAVLC, "bframes": {"tune": "film"}, "intra-refresh": {"intra-refresh": "1"}}.get(
        request.param, {}
    )
    if request.param == "h265":
        options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"}
    suffix = {"annexb": "h264", "transport": "ts"}.get(request.param, "mkv")
    file = tmp_path_factory.mktemp("video") / f"a.{suffix}"
    codec = "h265" if request.param == "h265" else "h264"
    return write_video(file, FRAMES, codec=codec, options=options).read_bytes()


def test_a_sound_stream_comes_out_whole(content):
    shown, damaged, smeared = feed(content)
    assert shown == list(range(FRAMES)) and not damaged and not smeared


def test_after_a_lost_picture_nothing_comes_out_until_a_picture_that_needs_no_other(content):
    for lost in (12, 15, 25):
        shown, damaged, smeared = feed(content, lambda number, packet, lost=lost: None if number == lost else packet)
        assert smeared == 0 and len(shown) < FRAMES
        assert damaged or len(shown) == FRAMES - 1, "unless no other needed it"


def test_a_picture_that_is_cut_off_is_not_shown(content):
    def cut(number, packet):
        return altered(packet, bytes(packet)[: packet.size // 2]) if number in (3, 22) else packet

    shown, damaged, smeared = feed(content, cut)
    assert smeared == 0 and damaged >= 2 and 5 <= len(shown) < FRAMES


def test_a_picture_that_lacks_a_slice_is_not_shown(tmp_path):
    content = write_video(tmp_path / "a.mkv", FRAMES, options={"tune": "film", "slices": "4"}).read_bytes()

    def without_the_last_slice(number, packet):
        if number not in (14, 27):
            return packet
        units, at, whole = [], 0, bytes(packet)
        while at < len(whole):
            size = 4 + int.from_bytes(whole[at : at + 4], "big")
            units.append(whole[at : at + size])
            at += size
        assert len(units) >= 2
        return altered(packet, b"".join(units[:-1]))

    shown, damaged, smeared = feed(content, without_the_last_slice)
    assert smeared == 0 and damaged == 2 and len(shown) < FRAMES


def test_a_picture_that_ffmpeg_says_it_mended_in_its_log_alone_is_not_shown(tmp_path):
    stream, first, *_ = packets(write_video(tmp_path / "a.mkv", 3).read_bytes())
    decoder = Decoder(stream, 1_000_000)
    sound = decoder._context

    class Mending:
        name = "h264"

        def decode(self, packet):
            av.logging.log(av.logging.INFO, "h264", "concealing 5 DC, 5 AC, 5 MV errors in P frame")
            return sound.decode(packet)

    for _ in range(2):
        decoder._context = Mending()
        assert decoder.feed(first) == ([], True), "also when FFmpeg says the same again"
    assert len(decoder.feed(first)[0]) == 1, "with another decoder it goes on at a key frame"


def test_damaged_bytes_are_found_and_no_smeared_picture_is_shown(tmp_path):
    content = write_video(tmp_path / "a.mkv", FRAMES, options=CAVLC).read_bytes()
    rng = np.random.default_rng(7)

    for victim in range(1, FRAMES, 3):

        def spoil(number, packet, victim=victim):
            if number != victim:
                return packet
            spoiled = bytearray(bytes(packet))
            at = int(rng.integers(40, max(41, len(spoiled) - 200)))
            spoiled[at : at + 64] = rng.bytes(len(spoiled[at : at + 64]))
            return altered(packet, bytes(spoiled))

        shown, damaged, smeared = feed(content, spoil)
        assert damaged and smeared == 0 and victim not in shown


def test_a_picture_far_beyond_the_limit_is_not_even_decoded(tmp_path):
    stream, *rest = packets(write_video(tmp_path / "a.mkv", 3).read_bytes())
    decoder = Decoder(stream, 320 * 240 // 5)
    assert [decoder.feed(packet)[0] for packet in rest] == [[]] * len(rest)


def test_numbers_of_a_stream_without_parameters_are_not_followed():
    numbers = FrameNumbers(b"")
    assert not numbers.lost(b"\0\0\1\x41\x9a\x24\x6c") and not numbers.lost(b"") and not numbers.lost(b"\0\0\1")
