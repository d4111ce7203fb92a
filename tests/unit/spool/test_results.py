"""Concluded jobs on disk."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from support.report_sources import volume_case

from edge_runtime.domain import (
    Analysis,
    Answer,
    Box,
    Code,
    EngineIdentity,
    Finding,
    Geometry,
    InputInstance,
    JobResult,
    KeyImage,
    Mask,
    Measurement,
    SourceImage,
    StageOutcome,
    StageRecord,
)
from edge_runtime.errors import SpoolError
from edge_runtime.spool.results import SCHEMA_VERSION, load_result, save_result

TEXT = st.text(min_size=1, max_size=8)
FLOAT = st.floats(allow_nan=False)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
CODES = st.builds(Code, TEXT, TEXT, TEXT)
SMALL = st.integers(0, 9)
BOXES = st.builds(lambda a, d: Box(a, (a[0] + d[0], a[1] + d[1], a[2] + d[2])), st.tuples(SMALL, SMALL, SMALL),
                  st.tuples(*[st.integers(1, 9)] * 3))  # fmt: skip
FINDINGS = st.builds(
    Finding, TEXT, TEXT, CODES, st.sampled_from(Answer), st.none() | st.floats(0, 1), st.none() | FINITE,
    st.lists(st.builds(Measurement, CODES, FINITE, CODES), max_size=2).map(tuple), st.none() | BOXES, st.none() | SMALL,
)  # fmt: skip
ENGINES = st.builds(EngineIdentity, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT)
STAGES = st.builds(StageRecord, TEXT, ENGINES, st.sampled_from(StageOutcome), st.text(max_size=5), FINITE, SMALL)
MASKS = st.builds(
    Mask,
    st.integers(1, 9),
    TEXT,
    CODES,
    CODES,
    TEXT,
    arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, max_side=5)),
)
KEYS = st.builds(KeyImage, SMALL, arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=6)))
AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
GEOMETRIES = st.builds(
    Geometry, st.tuples(*[st.integers(1, 5)] * 3), st.tuples(FINITE, FINITE, FINITE), st.just(AXES),
    st.tuples(*[st.floats(1e-3, 1e3)] * 3), st.none() | TEXT,
)  # fmt: skip


def several(strategy: Any, most: int = 2) -> Any:
    return st.lists(strategy, max_size=most).map(tuple)


RESULTS = st.builds(
    JobResult, TEXT, TEXT, st.text(), SMALL, TEXT, st.none() | GEOMETRIES,
    several(st.builds(SourceImage, TEXT, TEXT, st.none() | SMALL)), several(st.builds(InputInstance, TEXT, TEXT, TEXT)),
    st.text(max_size=9), FINITE, FINITE, FINITE, FLOAT,
    st.builds(Analysis, several(STAGES), several(FINDINGS), several(MASKS)), several(KEYS), several(st.text()),
)  # fmt: skip


def flat(value: Any) -> Any:
    """The value as plain tuples, arrays as type, shape and bytes, so that `==` compares every bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        return type(value).__name__, *(flat(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, tuple):
        return tuple(flat(item) for item in value)
    return type(value).__name__, repr(value)


@settings(max_examples=60, deadline=None)
@given(RESULTS)
def test_a_result_that_was_saved_is_loaded_equal_in_every_bit(result):
    with tempfile.TemporaryDirectory() as name:
        save_result(result, Path(name))
        assert flat(load_result(Path(name))) == flat(result)


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    result = volume_case(tmp_path / "in").result
    save_result(result, tmp_path / "out")
    save_result(dataclasses.replace(result, revision=2), tmp_path / "out")
    assert load_result(tmp_path / "out").revision == 2
    assert sorted(os.listdir(tmp_path / "out")) == ["arrays.npz", "result.json"]
    assert all((tmp_path / "out" / name).stat().st_mode & 0o777 == 0o600 for name in ("arrays.npz", "result.json"))


@pytest.fixture
def saved(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    folder = tmp_path / "job-7"
    folder.mkdir()
    save_result(volume_case(tmp_path / "in").result, folder)
    return folder


def test_another_schema_version_is_refused_by_number(saved):
    document = json.loads((saved / "result.json").read_text())
    document["schema_version"] = 99
    (saved / "result.json").write_text(json.dumps(document))
    with pytest.raises(SpoolError, match=f"version 99, this program reads {SCHEMA_VERSION}"):
        load_result(saved)


def test_a_folder_with_arrays_but_no_json_holds_no_result(saved):
    (saved / "result.json").unlink()
    with pytest.raises(SpoolError, match="holds no whole result"):
        load_result(saved)


@pytest.mark.parametrize("name", ["result.json", "arrays.npz"])
@pytest.mark.parametrize("damage", ["cut", "high bit", "low bit", "empty"])
def test_a_damaged_file_is_a_spool_error_and_never_another_result(saved, name, damage):
    data = bytearray((saved / name).read_bytes())
    middle = len(data) // 2
    high, low = bytes([data[middle] ^ 0x80]), bytes([data[middle] ^ 0x01])
    changed = {
        "cut": data[:middle],
        "empty": b"",
        "high bit": data[:middle] + high + data[middle + 1 :],
        "low bit": data[:middle] + low + data[middle + 1 :],
    }
    (saved / name).write_bytes(changed[damage])
    with pytest.raises(SpoolError, match="damaged"):
        load_result(saved)


def test_arrays_of_another_save_are_not_taken_for_this_one(saved, tmp_path):
    (tmp_path / "in2").mkdir()
    (tmp_path / "other").mkdir()
    save_result(volume_case(tmp_path / "in2", shape=(7, 20, 24)).result, tmp_path / "other")
    os.replace(tmp_path / "other" / "arrays.npz", saved / "arrays.npz")
    with pytest.raises(SpoolError, match="damaged"):
        load_result(saved)


def test_a_mask_takes_one_bit_a_voxel(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    case = volume_case(tmp_path / "in", shape=(16, 64, 64))
    save_result(dataclasses.replace(case.result, key_images=()), tmp_path / "out")
    assert (tmp_path / "out" / "arrays.npz").stat().st_size < 16 * 64 * 64 // 8 + 1000


def test_the_schema_version_is_that_of_these_fields():
    """Who changes a field of a result raises SCHEMA_VERSION and this list together."""
    kinds = (Analysis, Box, Code, EngineIdentity, Finding, Geometry, InputInstance, JobResult, KeyImage, Mask,
             Measurement, SourceImage, StageRecord)  # fmt: skip
    assert SCHEMA_VERSION == 2
    assert {kind.__name__: " ".join(f.name for f in dataclasses.fields(kind)) for kind in kinds} == FIELDS


FIELDS = {
    "Analysis": "stages findings masks",
    "Box": "start stop",
    "Code": "value scheme meaning",
    "EngineIdentity": "name version sha256 precision backend statement",
    "Finding": "stage label concept answer probability threshold measurements box mask_number",
    "Geometry": "shape origin_mm directions spacing_mm frame_of_reference_uid",
    "InputInstance": "sop_class_uid sop_instance_uid sha256",
    "JobResult": "job_id pipeline pipeline_stages revision modality geometry sources inputs "
    "completeness first_received_at last_received_at concluded_at deadline_at analysis key_images notes",
    "KeyImage": "slice_index pixels",
    "Mask": "number label category kind stage voxels",
    "Measurement": "concept value unit",
    "SourceImage": "sop_class_uid sop_instance_uid frame_number",
    "StageRecord": "stage engine outcome reason seconds regions waited_seconds expected_seconds",
}
