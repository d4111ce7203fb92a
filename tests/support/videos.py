"""Video files in which each picture is known: a moving texture, its number, and damage of a chosen kind."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BLOCK, BITS = 16, 20
"""A picture's number is drawn in its first lines, one bit a block, the lowest first."""

CODECS = {"h264": "libx264", "mpeg2": "mpeg2video", "mjpeg": "mjpeg", "h265": "libx265"}


def texture(number: int, columns: int = 320, rows: int = 240) -> np.ndarray:
    """RGB (rows, columns, 3): blocks that move with the number, and the number itself."""
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 255, (rows // 8 + 1, columns // 8 + 1, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    picture = np.ascontiguousarray(np.roll(blocks, (number, 2 * number), (0, 1))[:rows, :columns])
    for bit in range(min(BITS, columns // BLOCK)):
        picture[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 235 if number >> bit & 1 else 16
    return picture


def number_of(pixels: np.ndarray) -> int:
    """The number that is drawn in a picture of `texture` in its own size."""
    blocks = range(min(BITS, pixels.shape[1] // BLOCK))
    return sum(int(pixels[BLOCK // 2, bit * BLOCK + BLOCK // 2, 1] > 128) << bit for bit in blocks)


def milliseconds_ago(pixels: np.ndarray, now: float) -> float:
    """How long ago rtsp_server.py drew a picture, by its clock."""
    drawn = sum(int(pixels[8, bit * 16 + 8, 1] > 128) << bit for bit in range(32))
    return ((int(now * 1e4) - drawn) & 0xFFFFFFFF) / 10.0


def write_video(
    path: Path,
    frames: int = 50,
    *,
    rate: int = 25,
    codec: str = "h264",
    size: tuple[int, int] = (320, 240),
    numbers: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode `texture` of the numbers from 0, or of `numbers`; the container is told by the file's name."""
    with av.open(str(path), "w") as container:
        usual = {"preset": "veryfast", "tune": "zerolatency"} if codec == "h264" else {}
        stream = container.add_stream(CODECS[codec], rate=rate, options={**usual, **(options or {})})
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = 10
        stream.bit_rate = 4_000_000
        stream.codec_context.time_base = Fraction(1, rate)
        for number in numbers if numbers is not None else range(frames):
            frame = av.VideoFrame.from_ndarray(texture(number, *size), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@functools.lru_cache(maxsize=2)
def decoded(content: bytes) -> dict[int, np.ndarray]:
    """The pictures of a video as FFmpeg decodes it, by their number."""
    with av.open(io.BytesIO(content)) as container:
        pictures = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        return {number_of(picture): picture for picture in pictures}
