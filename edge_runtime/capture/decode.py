"""Packets to whole pictures: what is damaged is told, and nothing comes out until a picture that needs no other.

H.264 has no check sum. What FFmpeg finds broken it mends and shows, unless it is told to "explode", and it obeys that
in a single thread only. What it mends nevertheless, it says in its log alone. A decoder that met damage is replaced:
its memory of it smears the next key frame.
"""

from __future__ import annotations

import av.logging
from av import CodecContext, Packet, VideoCodecContext, VideoFrame, VideoStream
from av.codec.context import Flags
from av.error import FFmpegError

from edge_runtime.capture.h264 import FrameNumbers

_DETECT = "crccheck+bitstream+buffer+careful+compliant+aggressive+explode"
_MENDED = "concealing"
_REPLACED = ("h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video")
_BOMB = 4  # times the pixels that are allowed: beyond it nothing is even decoded


class Decoder:
    """Of one video stream."""

    def __init__(self, stream: VideoStream, maximum_pixels: int) -> None:
        av.logging.set_level(av.logging.INFO)
        av.logging.set_skip_repeated(False)  # each Capture is to hear it
        self._maximum_pixels = maximum_pixels
        self._extradata = stream.codec_context.extradata
        self._context = self._prepared(stream.codec_context)
        self._numbers = FrameNumbers(self._extradata or b"") if self._context.name == "h264" else None
        self._waiting = True

    def feed(self, packet: Packet[VideoStream]) -> tuple[list[VideoFrame], bool]:
        """The pictures that a packet completes, and whether something was damaged: nothing it touches comes out."""
        if self._waiting and not packet.is_keyframe:
            return [], False
        self._waiting = False
        lost = self._numbers is not None and self._numbers.lost(bytes(packet))
        frames = None if lost or packet.is_corrupt else self._decode(packet)
        if frames is not None:
            return frames, False
        self._begin_anew()
        return [], True

    def _decode(self, packet: Packet[VideoStream]) -> list[VideoFrame] | None:
        with av.logging.Capture() as said:
            try:
                frames = self._context.decode(packet)
            except FFmpegError:
                return None
        damaged = any(frame.is_corrupt for frame in frames) or any(_MENDED in text for _, _, text in said)
        return None if damaged else frames

    def _begin_anew(self) -> None:
        self._waiting = True
        if self._numbers is not None:
            self._numbers.forget()
        if self._context.name in _REPLACED:
            fresh = CodecContext.create(self._context.name, "r")
            assert isinstance(fresh, VideoCodecContext)
            fresh.extradata = self._extradata
            self._context = self._prepared(fresh)
        else:
            self._context.flush_buffers()

    def _prepared(self, context: VideoCodecContext) -> VideoCodecContext:
        context.options = {"err_detect": _DETECT, "max_pixels": str(_BOMB * self._maximum_pixels)}
        context.flags |= Flags.low_delay
        context.thread_count = 1
        context.thread_type = "NONE"
        return context
