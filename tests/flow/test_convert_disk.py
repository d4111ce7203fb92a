"""A disk that fills up in the middle of a build."""

import pytest
from support.mounts import mounted

from converters.workspace import whole_folder, write
from edge_runtime.engines.passport import PASSPORT_FILE
from edge_runtime.errors import EdgeRuntimeError


def test_a_full_disk_ends_the_build_with_what_is_missing_and_keeps_the_old_engine(tmp_path):
    with mounted(tmp_path / "small", "size=2m") as disk:
        output = disk / "onnxruntime-fp32"
        output.mkdir()
        (output / PASSPORT_FILE).write_bytes(b"old")
        with pytest.raises(EdgeRuntimeError) as caught, whole_folder(output) as folder:
            write(folder / "network.onnx", bytes(1_000_000))
            write(folder / "engine.onnx", bytes(3_000_000))
        assert str(caught.value) == (
            f"the disk of {disk} is full: engine.onnx needs 3.0 MB and 1.1 MB are free; "
            "free at least 1.9 MB more there or name another --output; nothing was changed"
        )
        assert [entry.name for entry in disk.iterdir()] == [output.name]
        assert (output / PASSPORT_FILE).read_bytes() == b"old"
        with whole_folder(output) as folder:
            write(folder / PASSPORT_FILE, bytes(1_000_000))
        assert (output / PASSPORT_FILE).stat().st_size == 1_000_000


def test_a_disk_without_room_for_a_folder_is_named_too(tmp_path):
    with mounted(tmp_path / "small", "size=1m,nr_inodes=3") as disk:
        (disk / "one").mkdir()
        (disk / "two").touch()
        with pytest.raises(EdgeRuntimeError, match=f"the disk of {disk} is full"), whole_folder(disk / "engine"):
            raise AssertionError("a build began")
        assert sorted(entry.name for entry in disk.iterdir()) == ["one", "two"]
