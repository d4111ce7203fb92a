"""The JSON of a frame's result: what it says, and what it never holds."""

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.live_results import COLUMNS, POLYP, RAN, ROWS, SKIPPED, frame_result, polyp, polyp_mask

from edge_runtime.domain import Answer, Code, Finding, Measurement
from edge_runtime.live.event import SCHEMA_VERSION, event_document, event_line, utc_milliseconds

DOCUMENT = Path(__file__).parents[3] / "docs/live-outputs.md"
AREA = Measurement(Code("1", "99X", "Area"), 12.5, Code("mm2", "UCUM", "square millimetre"))


def full_result():
    plane = np.ones((ROWS, COLUMNS), np.bool_)
    informative = Finding("inside", "informative", POLYP, Answer.NOT_EVALUATED)
    return frame_result(
        sequence=7,
        captured_at=100.0,
        concluded_at=100.0432,
        captured_unix=1795406400.1239,
        stages=(RAN, SKIPPED),
        findings=(polyp(10, 20, 30, 50, measurements=(AREA,)), informative),
        masks=(polyp_mask(plane),),
        notes=("replay",),
    )


def test_it_says_what_when_how_old_and_whether_it_is_whole():
    document = event_document(full_result())
    plain = {key: document[key] for key in ("source", "pipeline", "sequence", "captured", "age_seconds", "complete")}
    assert plain == {
        "source": "tower-1",
        "pipeline": "endoscopy",
        "sequence": 7,
        "captured": "2026-11-23T04:00:00.123Z",
        "age_seconds": 0.0432,
        "complete": False,
    }
    assert document["schema_version"] == SCHEMA_VERSION and document["deadline_seconds"] == 0.05
    assert "NOT FOR DIAGNOSIS" in document["statement"]
    assert [(stage["name"], stage["outcome"], stage["reason"]) for stage in document["stages"]] == [
        ("boxes", "ran", ""), ("outline", "skipped", "too_slow"),
    ]  # fmt: skip
    first, second = document["findings"]
    assert first["box"] == {"top": 10, "left": 20, "bottom": 30, "right": 50}
    assert first["measurements"][0]["value"] == 12.5 and first["measurements"][0]["unit"]["value"] == "mm2"
    assert (second["answer"], second["probability"], second["box"]) == ("not_evaluated", None, None)
    assert [engine["sha256"] for engine in document["engines"]] == ["ab" * 32], "each engine once"


def test_a_line_is_one_line_of_plain_json_without_masks():
    line = event_line(full_result())
    assert line.count(b"\n") == 1 and line.endswith(b"\n") and len(line) < 3000
    assert json.loads(line) == event_document(full_result())
    assert b"mask" not in line


def test_every_key_is_in_the_document():
    keys = set(event_document(full_result()))
    assert len(keys) > 10
    text = DOCUMENT.read_text()
    assert {key for key in keys if f"`{key}`" not in text and f"`{key}[]`" not in text} == set()


@given(st.integers(0, 4_000_000_000_000))
def test_times_are_cut_to_milliseconds_and_never_ahead(milliseconds):
    text = utc_milliseconds(milliseconds / 1000 + 0.0004)
    assert text == utc_milliseconds(milliseconds / 1000 + 0.0006)
    assert len(text) == len("2026-11-23T04:00:00.123Z") and text.endswith("Z")
