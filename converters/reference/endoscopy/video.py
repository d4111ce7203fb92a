"""Write a computed examination as a video file (H.264 in MP4), and beside it what is true of every frame, as JSON."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from converters.reference.endoscopy.frames import COLUMNS, ROWS, Frame
from converters.reference.endoscopy.sequence import Sequence, make_sequence
from edge_runtime.errors import BackendUnavailable

SCHEMA_VERSION = 1
_QUALITY = {"preset": "veryfast", "tune": "zerolatency", "crf": "20", "sc_threshold": "0"}


def write_video(
    path: Path,
    seconds: float = 30.0,
    seed: int = 1,
    rows: int = ROWS,
    columns: int = COLUMNS,
    frames_per_second: float = 25.0,
) -> Path:
    """Write the video with a key frame a second; returns the file of the truth, `path` with the ending .json.

    Raises:
        ValueError: less than five seconds; or rows or columns are odd, which 4:2:0 cannot hold.
        BackendUnavailable: the package av is missing.
    """
    if rows % 2 or columns % 2:
        raise ValueError(f"rows and columns of a video are even, got {rows} x {columns}")
    try:
        import av
    except ImportError as error:
        raise BackendUnavailable("writing a video needs the package av: pip install 'edge-runtime[video]'") from error
    sequence = make_sequence(seed, seconds, rows, columns, frames_per_second)
    rate = Fraction(frames_per_second).limit_denominator(1001)
    told: list[dict[str, Any]] = []
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=dict(_QUALITY))
        stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
        stream.gop_size = max(1, round(frames_per_second))
        for index in range(sequence.count):
            frame = sequence.frame(index)
            picture = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(stream.encode(picture))
            told.append(_told(sequence, index, frame))
        container.mux(stream.encode(None))
    truth = path.with_suffix(".json")
    truth.write_text(_document(sequence, told), encoding="utf-8")
    return truth


def _told(sequence: Sequence, index: int, frame: Frame) -> dict[str, Any]:
    return {
        "index": index,
        "seconds": round(sequence.seconds(index), 4),
        "phase": sequence.phase(index).value,
        "inside": frame.inside,
        "informative": frame.informative,
        "polyps": [{"number": p.number, "box": list(p.box), "pixels": int(p.mask.sum())} for p in frame.polyps],
        "look_alikes": list(frame.look_alikes),
    }


def _document(sequence: Sequence, told: list[dict[str, Any]]) -> str:
    whole = {
        "schema_version": SCHEMA_VERSION,
        "what": "a computed sequence, not of a patient; box: row and column of start and stop, in pixels",
        "seed": sequence.seed,
        "rows": sequence.rows,
        "columns": sequence.columns,
        "frames_per_second": sequence.frames_per_second,
    }
    head = json.dumps(whole, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(each) for each in told)
    return f'{head},\n "frames": [\n  {lines}\n ]\n}}\n'
