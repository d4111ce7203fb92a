"""Files of limited length in a folder of limited size."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.live.segments import FolderUnusable, Segments

NOON = 1795435200.0


def segments(folder, **changes) -> Segments:
    return Segments(**{"folder": folder, "suffix": "jsonl", "segment_seconds": 600.0, "keep_bytes": 1000, **changes})


def put(folder: Path, name: str, size: int) -> Path:
    (folder / name).write_bytes(b"x" * size)
    return folder / name


def test_a_file_is_named_by_source_and_millisecond_and_is_ours_alone(tmp_path):
    made = []
    for _ in range(3):
        path, descriptor = segments(tmp_path / "a" / "b").create("tower-1", NOON + 0.9)
        os.close(descriptor)
        made.append(path)
    assert [path.name for path in made] == [
        "tower-1-20261123T120000.900.jsonl", "tower-1-20261123T120000.901.jsonl", "tower-1-20261123T120000.902.jsonl",
    ]  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_file_ends_by_time_or_by_its_share_of_the_room():
    it = segments(Path("x"))
    assert not it.is_full(599.9, 124)
    assert it.is_full(600.0, 0) and it.is_full(0.0, 125)


def test_the_oldest_go_first_whatever_source_they_are_of(tmp_path):
    put(tmp_path, "b-20261123T120001.jsonl", 400)
    put(tmp_path, "a-20261123T120002.jsonl", 400)
    put(tmp_path, "z-20261123T120000-2.jsonl", 400)
    put(tmp_path, "z-20261123T120000.jsonl", 400)
    assert segments(tmp_path).prune([]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-20261123T120002.jsonl", "b-20261123T120001.jsonl"]


@given(moments=st.lists(st.integers(0, 10**5), min_size=1, max_size=20))
def test_names_sort_in_the_order_of_creation(tmp_path_factory, moments):
    it, made = segments(tmp_path_factory.mktemp("segments")), []
    for milliseconds in sorted(moments):
        path, descriptor = it.create("tower-1", NOON + milliseconds / 1000)
        os.close(descriptor)
        made.append(path.name)
    assert sorted(made) == made


def test_files_of_a_clock_that_was_ahead_go_before_all_others(tmp_path):
    ahead = [put(tmp_path, f"a-20261123T13000{second}.000.jsonl", 400) for second in range(3)]
    right = [put(tmp_path, f"a-20261123T11000{second}.000.jsonl", 400) for second in range(2)]
    assert segments(tmp_path).prune([], NOON) == 3
    assert not any(path.exists() for path in ahead) and all(path.exists() for path in right)
    assert segments(tmp_path, keep_bytes=500).prune([], NOON) == 1 and right[1].exists()


def test_files_in_use_and_files_of_others_are_not_touched(tmp_path):
    open_file = put(tmp_path, "a-20261123T120000.jsonl", 900)
    put(tmp_path, "a-20261123T120001.jsonl", 900)
    others = ["notes.jsonl", "a-20261123T120000.mp4", "a-20261123T120000.jsonl.bak", "-20261123T120000.jsonl"]
    for name in others:
        put(tmp_path, name, 5000)
    (tmp_path / "c-20261123T120000.jsonl").symlink_to(open_file)
    (tmp_path / "d-20261123T120000.jsonl").mkdir()
    assert segments(tmp_path).prune([open_file]) == 1
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {open_file.name, *others, "c-20261123T120000.jsonl", "d-20261123T120000.jsonl"}


@given(sizes=st.lists(st.integers(0, 400), max_size=12), keep=st.integers(1, 1500), used=st.integers(0, 3))
def test_what_is_left_is_the_newest_and_fits(tmp_path_factory, sizes, keep, used):
    folder = tmp_path_factory.mktemp("segments")
    files = [put(folder, f"a-20261123T1200{second:02d}.jsonl", size) for second, size in enumerate(sizes)]
    in_use = files[max(0, len(files) - used) :] if used else []
    gone = segments(folder, keep_bytes=keep).prune(in_use)
    left = [path for path in files if path.exists()]
    assert left == files[gone:], "the oldest are gone"
    total = sum(sizes[gone:])
    assert total <= keep or left == in_use
    assert not gone or sum(sizes[gone - 1 :]) > keep, "and not one too many"


def test_a_folder_that_cannot_be_made_is_an_error_of_the_disk(tmp_path):
    put(tmp_path, "file", 1)
    with pytest.raises(FolderUnusable, match="the folder cannot be made: Not a directory") as caught:
        segments(tmp_path / "file" / "x").create("a", NOON)
    assert str(tmp_path / "file" / "x") in str(caught.value)


def test_a_file_that_cannot_be_made_is_told_by_its_folder_which_stays_the_same(tmp_path):
    with pytest.raises(FolderUnusable, match="no file can be made there: File name too long") as caught:
        segments(tmp_path).create("a" * 300, NOON)
    assert str(caught.value).startswith(f"{tmp_path}: ")
