"""Decoding in real worker processes: every syntax against another vendor's codec, and what hostile files do."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian
from support.dicom_objects import ct_series, dcmtk, multi_frame, picture, save, save_series

from edge_runtime.assemble.decoder import DecodePool
from edge_runtime.assemble.volume import assemble
from edge_runtime.config import Decode
from edge_runtime.errors import DecodeRefused
from edge_runtime.telemetry.metrics import NullMetrics

RNG = np.random.default_rng(11)
SECONDS = 60
needs_dcmtk = pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="needs DCMTK")


class Counted(NullMetrics):
    """Keeps what was counted."""

    def __init__(self):
        self.counts = {}

    def count(self, name, amount=1.0, **labels):
        key = (name, *labels.values())
        self.counts[key] = self.counts.get(key, 0) + amount


@pytest.fixture(scope="module")
def pool():
    with DecodePool(Decode(maximum_pixels_bytes=200_000_000, timeout_seconds=20), NullMetrics()) as pool:
        yield pool


@pytest.fixture
def frames(pool):
    return lambda path: pool.submit(Path(path)).result(SECONDS).frames


@pytest.fixture
def reason(pool):
    def refused(path):
        with pytest.raises(DecodeRefused) as caught:
            pool.submit(Path(path)).result(SECONDS)
        assert str(path) not in str(caught.value)
        return caught.value.reason

    return refused


def smooth(shape, top):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return ((np.sin(rows / 9.0) + np.cos(columns / 7.0) + 2) / 4 * top + RNG.integers(0, 5, shape)).astype(np.uint16)


def with_frame(path, target, change):
    """A copy of an encapsulated single-frame file whose frame went through `change`."""
    data_set = pydicom.dcmread(path)
    frame = next(generate_frames(data_set.PixelData, number_of_frames=1))
    data_set.PixelData = encapsulate([change(frame)])
    data_set.save_as(target)
    return target


LOSSLESS = [
    ("dcmcjpeg", "+e1"),
    ("dcmcjpeg", "+el"),
    ("dcmcjpls", "+el"),
    ("dcmcrle",),
]


@needs_dcmtk
@pytest.mark.parametrize("command", LOSSLESS, ids=" ".join)
@pytest.mark.parametrize("signed", [False, True])
def test_what_dcmtk_packs_without_loss_comes_out_as_it_was(tmp_path, frames, command, signed):
    stored = smooth((60, 50), 3000) if not signed else (smooth((60, 50), 3000).astype(np.int16) - 1500)
    data_set = picture(stored)
    target = dcmtk(command, save(data_set, tmp_path / "a.dcm"), tmp_path / "b.dcm")
    assert pydicom.dcmread(target, stop_before_pixels=True).file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(frames(target)[0], stored)


@needs_dcmtk
@pytest.mark.parametrize(
    "pack, unpack, bits",
    [
        (("dcmcjpeg", "+eb"), ("dcmdjpeg",), 8),
        (("dcmcjpeg", "+ee"), ("dcmdjpeg",), 8),
        (("dcmcjpeg", "+ee"), ("dcmdjpeg",), 12),
        (("dcmcjpls", "+en"), ("dcmdjpls",), 12),
    ],
    ids=str,
)
def test_what_dcmtk_packs_with_loss_comes_out_as_dcmtk_unpacks_it(tmp_path, frames, pack, unpack, bits):
    stored = smooth((64, 48), 2**bits - 10)
    stored = stored.astype(np.uint8) if bits == 8 else stored
    source = save(picture(stored, BitsStored=bits, HighBit=bits - 1), tmp_path / "a.dcm")
    packed = dcmtk(pack, source, tmp_path / "b.dcm")
    plain = pydicom.dcmread(dcmtk(unpack, packed, tmp_path / "c.dcm")).pixel_array.astype(float)
    ours = frames(packed)[0]
    assert np.abs(ours - plain).max() <= 1  # two inverse cosine transforms may round differently
    assert np.abs(ours - stored).max() < 2**bits / 20


@needs_dcmtk
@pytest.mark.parametrize("command", [("dcmcjpeg", "+e1"), ("dcmcjpls", "+el"), ("dcmcrle",)], ids=" ".join)
def test_colour_clips_packed_without_loss_come_out_as_they_were(tmp_path, frames, command):
    clip = RNG.integers(0, 256, (3, 20, 30, 3), np.uint8)
    target = dcmtk(command, save(multi_frame(clip), tmp_path / "a.dcm"), tmp_path / "b.dcm")
    assert np.array_equal(frames(target), clip)


@needs_dcmtk
@pytest.mark.parametrize("subsampling", ["+s4", "+s2"])
def test_colour_jpeg_comes_out_as_dcmtk_unpacks_it(tmp_path, frames, subsampling):
    rows, columns = np.mgrid[:40, :48]
    clip = np.stack([rows * 5, columns * 4, 200 - rows * 2 - columns], axis=-1).astype(np.uint8)[None]
    packed = dcmtk(("dcmcjpeg", "+eb", subsampling), save(multi_frame(clip), tmp_path / "a.dcm"), tmp_path / "b.dcm")
    plain = pydicom.dcmread(dcmtk(("dcmdjpeg",), packed, tmp_path / "c.dcm"))
    assert plain.PhotometricInterpretation == "RGB"
    expected = plain.pixel_array.reshape(clip.shape).astype(float)
    assert np.abs(frames(packed) - expected).max() <= 4
    assert np.abs(frames(packed) - clip.astype(float)).mean() < 4


@pytest.mark.parametrize(
    "reference, packed",
    [
        *[("MR_small.dcm", f"MR_small_{name}.dcm") for name in ("RLE", "bigendian", "expb", "implicit")],
        *[("MR_small.dcm", f"MR_small_{name}.dcm") for name in ("jp2klossless", "jpeg_ls_lossless")],
        ("693_UNCI.dcm", "693_J2KI.dcm"),
        ("693_UNCR.dcm", "693_J2KR.dcm"),
        ("MR2_UNCI.dcm", "MR2_J2KI.dcm"),
        ("US1_UNCR.dcm", "US1_J2KR.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_rle.dcm"),
        ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"),
        ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm"),
        ("SC_rgb_dcmtk_ebcynp_dcmd.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm"),
        ("SC_rgb_dcmtk_ebcr_dcmd.dcm", "SC_rgb_dcmtk_+eb+cr.dcm"),
        ("SC_rgb_jpeg_app14_dcmd.dcm", "SC_jpeg_no_color_transform_2.dcm"),
    ],
)
def test_two_encodings_of_one_real_image_are_equal(frames, reference, packed):
    paths = [get_testdata_file(name, download=False) for name in (reference, packed)]
    if None in paths:
        pytest.skip("needs pydicom-data")
    first, second = (frames(path) for path in paths)
    assert first.dtype == second.dtype
    assert np.array_equal(first, second)
    assert first.max() > first.min()


def test_a_jpeg_2000_stream_that_hides_its_sign_gives_hounsfield_units(frames):
    """J2K_pixelrep_mismatch.dcm: signed in the header, unsigned in the codestream; padding of -2000 outside."""
    pixels = frames(get_testdata_file("J2K_pixelrep_mismatch.dcm"))
    assert (pixels.min(), pixels.max()) == (-2000, 1896)


def test_a_volume_arrives_whole_from_files_in_any_order(tmp_path, pool):
    hounsfield = RNG.integers(-1024, 3071, (20, 16, 12))
    paths = save_series(ct_series(hounsfield), tmp_path)
    order = RNG.permutation(20)
    volume = assemble([pool.submit(paths[k]).result(SECONDS) for k in order], "volume")
    assert np.array_equal(volume.voxels, hounsfield)


def test_more_objects_than_file_descriptors_can_be_held(tmp_path, pool):
    path = save(picture(np.zeros((2, 2), np.uint8)), tmp_path / "a.dcm")
    before = len(os.listdir("/proc/self/fd"))
    held = [future.result(SECONDS) for future in [pool.submit(path) for _ in range(1500)]]
    assert len(held) == 1500
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def jpeg(tmp_path, command=("dcmcjpeg", "+e1")):
    return dcmtk(command, save(picture(smooth((64, 64), 4000)), tmp_path / "plain.dcm"), tmp_path / "jpeg.dcm")


def giant(frame):
    """The frame with 65,000 x 65,000 in its JPEG frame header."""
    at = frame.index(b"\xff\xc3")
    return frame[: at + 5] + b"\xfd\xe8\xfd\xe8" + frame[at + 9 :]


@needs_dcmtk
@pytest.mark.parametrize(
    "expected, change",
    [
        ("truncated", lambda frame: frame[: len(frame) // 2]),
        ("decode_failed", lambda frame: frame[: len(frame) // 2] + b"\xff\xd9"),
        ("decode_failed", lambda frame: frame[:900] + bytes(b ^ 0x55 for b in frame[900:1500]) + frame[1500:]),
        ("decode_failed", lambda frame: b"\xff\xd8" + b"\x00" * 100 + b"\xff\xd9"),
        ("decode_failed", lambda frame: RNG.bytes(2000)),
        ("pixel_length_mismatch", giant),
    ],
    ids=["cut", "cut and ended", "corrupt", "no stream", "noise", "giant"],
)
def test_a_broken_jpeg_stream_is_refused(tmp_path, reason, frames, expected, change):
    whole = jpeg(tmp_path)
    assert reason(with_frame(whole, tmp_path / "broken.dcm", change)) == expected
    assert frames(whole).shape == (1, 64, 64)


@pytest.mark.parametrize("name", ["693_J2KI.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"])
def test_a_cut_stream_of_the_other_codecs_is_refused(tmp_path, reason, name):
    source = get_testdata_file(name)
    for keep in (0.3, 0.9):
        cut = with_frame(source, tmp_path / "cut.dcm", lambda frame, keep=keep: frame[: int(len(frame) * keep)])
        assert reason(cut) in ("truncated", "decode_failed")


def test_a_deflate_bomb_is_refused_without_being_inflated(tmp_path, reason, pool):
    content = save(picture(np.zeros((4, 4), np.uint8)), tmp_path / "a.dcm", DeflatedExplicitVRLittleEndian).read_bytes()
    meta_end = 144 + int.from_bytes(content[140:144], "little")
    machine = zlib.compressobj(9, wbits=-15)
    packed = machine.compress(zlib.decompress(content[meta_end:], -15))
    packed += b"".join(machine.compress(b"\0" * 50_000_000) for _ in range(20)) + machine.flush()
    path = tmp_path / "bomb.dcm"
    path.write_bytes(content[:meta_end] + packed)
    before = pool.worker_pids
    assert reason(path) == "too_large"
    assert pool.worker_pids == before


def test_a_picture_that_is_larger_than_allowed_is_refused_from_its_header(tmp_path, reason):
    assert (
        reason(save(picture(np.zeros((2, 2), np.uint8), Rows=60000, Columns=60000), tmp_path / "a.dcm")) == "too_large"
    )


def test_a_file_that_is_not_there_is_refused(tmp_path, reason):
    assert reason(tmp_path / "absent.dcm") == "decode_failed"


def test_memory_beyond_the_limit_costs_only_that_file(tmp_path):
    small = save(picture(np.ones((8, 8), np.uint8)), tmp_path / "small.dcm")
    large = save(picture(np.zeros((12_000, 12_000), np.uint16)), tmp_path / "large.dcm")
    config = Decode(workers=1, memory_bytes=500_000_000, maximum_pixels_bytes=1_000_000_000)
    with DecodePool(config, NullMetrics()) as pool:
        futures = [pool.submit(path) for path in (small, large, small)]
        assert (futures[0].result(SECONDS).frames == 1).all()
        with pytest.raises(DecodeRefused) as caught:
            futures[1].result(SECONDS)
        assert caught.value.reason in ("decode_memory", "decode_crashed")
        assert (futures[2].result(SECONDS).frames == 1).all()


@pytest.fixture
def slow(tmp_path):
    """A path that keeps a worker waiting: a FIFO that nobody writes to."""
    path = tmp_path / "slow.dcm"
    os.mkfifo(path)
    return path


def wait_until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_hangs_costs_only_its_file(tmp_path, slow):
    small = save(picture(np.ones((8, 8), np.uint8)), tmp_path / "small.dcm")
    metrics = Counted()
    with DecodePool(Decode(workers=1, timeout_seconds=0.5), metrics) as pool:
        assert pool.submit(small).result(SECONDS)
        first = pool.worker_pids
        hanging, after = pool.submit(slow), pool.submit(small)
        with pytest.raises(DecodeRefused) as caught:
            hanging.result(SECONDS)
        assert caught.value.reason == "decode_timeout"
        assert (after.result(SECONDS).frames == 1).all()
        assert pool.worker_pids != first
    assert metrics.counts[("edge_decode_objects_total", "decode_timeout")] == 1
    assert metrics.counts[("edge_decode_objects_total", "decoded")] == 2
    assert metrics.counts[("edge_decode_worker_replacements_total", "decode_timeout")] == 1
    assert metrics.counts[("edge_decoded_bytes_total",)] == 2 * 8 * 8 * 4


def test_a_worker_killed_while_it_decodes_costs_only_its_file(tmp_path, slow, caplog):
    small = save(picture(np.ones((8, 8), np.uint8)), tmp_path / "small.dcm")
    with DecodePool(Decode(workers=2), NullMetrics()) as pool:
        wait_until(lambda: len(pool.worker_pids) == 2)
        waiting = [pool.submit(slow) for _ in range(2)]
        wait_until(lambda: all(future.running() for future in waiting))
        victim = pool.worker_pids[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: any(future.done() for future in waiting))
        struck, spared = sorted(waiting, key=lambda future: not future.done())
        assert struck.exception().reason == "decode_crashed"
        assert not spared.done()
        assert (pool.submit(small).result(SECONDS).frames == 1).all()  # by the replacement
        with slow.open("wb"):
            pass
        assert spared.exception(SECONDS).reason == "unreadable_header"  # by the one that lived on
        assert victim not in pool.worker_pids
    assert "decode process replaced" in caplog.messages


PARENT = """
import os, pathlib, signal, sys, time
from edge_runtime.assemble.decoder import DecodePool
from edge_runtime.config import Decode
from edge_runtime.telemetry.metrics import NullMetrics
pool = DecodePool(Decode(workers=2), NullMetrics())
futures = [pool.submit(pathlib.Path(sys.argv[1])) for _ in range(2)]
while not all(future.running() for future in futures) or len(pool.worker_pids) < 2:
    time.sleep(0.02)
time.sleep(0.2)
print(*pool.worker_pids, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_in_the_middle_of_a_file_when_their_parent_is_killed(slow):
    command = [sys.executable, "-c", PARENT, str(slow)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    pids = ended.stdout.split()
    assert len(pids) == 2
    wait_until(lambda: all(ended_process(pid) for pid in pids))


def ended_process(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_worker_that_ended_while_idle_costs_no_file(tmp_path):
    small = save(picture(np.ones((8, 8), np.uint8)), tmp_path / "small.dcm")
    with DecodePool(Decode(workers=1), NullMetrics()) as pool:
        assert pool.submit(small).result(SECONDS)
        (pid,) = pool.worker_pids
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: ended_process(pid))
        assert (pool.submit(small).result(SECONDS).frames == 1).all()


def test_closing_cancels_what_waits_and_leaves_no_process(tmp_path, slow):
    small = save(picture(np.ones((8, 8), np.uint8)), tmp_path / "small.dcm")
    pool = DecodePool(Decode(workers=1), NullMetrics())
    assert pool.submit(small).result(SECONDS)
    pids = pool.worker_pids
    running, queued = pool.submit(slow), pool.submit(small)
    wait_until(running.running)
    closing = threading.Thread(target=pool.close)
    closing.start()
    for future in (running, queued):
        with pytest.raises(CancelledError):
            future.result(SECONDS)
    closing.join(SECONDS)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(small)


def test_a_worker_that_cannot_start_says_so_and_is_tried_again(tmp_path, monkeypatch, caplog):
    small = save(picture(np.ones((8, 8), np.uint8)), tmp_path / "small.dcm")
    monkeypatch.setattr("sys.executable", "/bin/false")
    with DecodePool(Decode(workers=1), NullMetrics()) as pool:
        with pytest.raises(DecodeRefused) as caught:
            pool.submit(small).result(SECONDS)
        assert caught.value.reason == "decode_unavailable"
        monkeypatch.undo()
        assert pool.submit(small).result(SECONDS)
    assert "decode process did not start" in caplog.messages


def test_the_limits_hold_in_every_worker(pool):
    wait_until(lambda: len(pool.worker_pids) == 2)
    for pid in pool.worker_pids:
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        soft = {line[:25].strip(): line[25:].split()[0] for line in limits[1:]}
        assert soft["Max address space"] == "2000000000"
        assert soft["Max core file size"] == "0"
        assert soft["Max file size"] == "200000000"
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "800"
