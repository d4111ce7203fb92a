"""Folders, version, locks and durable small files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import SpoolError, SpoolLocked
from edge_runtime.spool.layout import (
    DISCARDED,
    SPOOL_VERSION,
    Layout,
    append_durably,
    discard_job,
    hold,
    read_lines,
    write_durably,
)

HOLDER = """
import sys, pathlib
from edge_runtime.spool.layout import hold
with hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_new_spool_has_its_folders_its_version_and_no_access_for_others(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a" / "spool")
    layout.create()
    layout.create()
    assert layout.version.read_text() == f"{SPOOL_VERSION}\n"
    for folder in (layout.root, layout.instances, layout.jobs, layout.run):
        assert folder.stat().st_mode & 0o077 == 0
    assert list(layout.run.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"), [(f"{SPOOL_VERSION + 1}", "newer runtime"), ("hello", "no spool"), ("", "no spool")]
)
def test_a_spool_of_a_newer_version_or_a_strange_folder_is_refused(tmp_path: Path, text: str, says: str) -> None:
    Layout(tmp_path).create()
    (tmp_path / "VERSION").write_text(text)
    with pytest.raises(SpoolError, match=says):
        Layout(tmp_path).create()


def test_a_spool_that_cannot_be_made_says_which_key_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"spool\.path"):
        Layout(tmp_path / "file").create()


def test_a_lock_keeps_another_process_out_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "infer.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SpoolLocked, match="daemon running twice"):
            hold(path, wait_seconds=0.1)
        holder.kill()
        hold(path, wait_seconds=5.0).close()


def test_a_lock_is_not_inherited_by_a_child_that_outlives_the_holder(tmp_path: Path) -> None:
    with hold(tmp_path / "a.lock"):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with child, hold(tmp_path / "a.lock"):
        assert child.poll() is None
        child.kill()


def test_writing_durably_replaces_the_whole_file_and_survives_what_a_crash_left(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    write_durably(path, b"old, and longer than the new one")
    (tmp_path / "job.json.part").write_bytes(b"torn by a crash before the rename, and very long")
    (tmp_path / "job.json.part").chmod(0o600)
    assert path.read_bytes().startswith(b"old")
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["job.json"]


@given(
    st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=4),
    st.lists(st.dictionaries(st.text(), st.text()), min_size=1, max_size=3),
    st.integers(min_value=1),
)
def test_a_line_torn_at_any_byte_costs_that_line_only(
    tmp_path_factory: pytest.TempPathFactory, before: list[dict[str, str]], after: list[dict[str, str]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    torn = json.dumps({"torn": "x" * 20}).encode() + b"\n"
    whole = b"".join(json.dumps(record).encode() + b"\n" for record in before)
    path.write_bytes(whole + torn[: cut % len(torn)])
    append_durably(path, *after)
    assert [r for r in read_lines(path) if r != {"torn": "x" * 20}] == before + after


def test_lines_that_are_no_objects_are_left_out_and_no_file_is_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert list(read_lines(path)) == []
    path.write_bytes(b'[1]\n{"a": 1}\n\xff\xfe\n3\n\n{"b"')
    assert list(read_lines(path)) == [{"a": 1}]


def test_a_discarded_job_folder_is_gone_and_one_half_deleted_is_not_taken_for_a_job(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    (layout.job("a") / "report").mkdir(parents=True)
    (layout.job("a") / "job.json").write_text("{}")
    (layout.jobs / f"b{DISCARDED}" / "report").mkdir(parents=True)
    discard_job(layout, "a")
    discard_job(layout, "b")
    discard_job(layout, "c")
    assert list(layout.jobs.iterdir()) == []
