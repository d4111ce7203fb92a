"""What JSON gives, as a dataclass: nothing more, nothing less, nothing else."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.strict_json import NotOfSchema, build


@dataclass(frozen=True)
class Point:
    """A place."""

    x: float
    name: str | None


@dataclass(frozen=True)
class Track:
    """Places in order."""

    points: tuple[Point, ...]
    closed: bool = False

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("points: name at least one")


POINTS = st.builds(Point, st.floats(allow_nan=False, allow_infinity=False), st.none() | st.text())
TRACKS = st.builds(Track, st.lists(POINTS, min_size=1).map(tuple), st.booleans())


@given(TRACKS)
def test_what_was_written_as_json_is_read_back_as_it_was(track):
    assert build(Track, json.loads(json.dumps(dataclasses.asdict(track))), "track") == track


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"points": []}, "track must have exactly the keys closed, points"),
        ({"points": [], "closed": False, "extra": 1}, "exactly the keys"),
        ({"points": {}, "closed": False}, "track.points must be a list"),
        ({"points": [{"x": 1, "name": 2}], "closed": False}, r"track.points\[0\].name must be str, got int"),
        ({"points": [{"x": True, "name": None}], "closed": False}, r"track.points\[0\].x must be float, got bool"),
        ({"points": [{"x": 1, "name": None}], "closed": 0}, "track.closed must be bool, got int"),
        ({"points": [], "closed": False}, "track: points: name at least one"),
        ([], "exactly the keys"),
    ],
)
def test_anything_else_is_refused_with_its_key(value, message):
    with pytest.raises(NotOfSchema, match=message):
        build(Track, value, "track")


def test_a_whole_number_is_a_float_too():
    assert build(Point, {"x": 1, "name": None}, "point") == Point(1.0, None)
