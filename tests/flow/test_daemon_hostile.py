"""Faulty input and a hostile world against the whole daemon: it says why, serves the others, and loses nothing."""

import copy
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import numpy as np
import pydicom
import pytest
from support.dicom_objects import dcmtk, multi_frame, save, save_series
from support.dicom_peers import RawPeer, normal_peer_is_served
from support.hostile import (
    all_states,
    assert_log_is_clean,
    encoded,
    image_count,
    jobs_of,
    journal,
    store_bytes,
    wait_states,
)
from support.pacs import StubPacs, abort_pdu, raw_server, read_pdu, reject_pdu, wait_until
from support.site import SIDE, ball_series, build_engine, send, send_series, write_config

from benchmarks.daemon import Daemon, free_port

pytestmark = pytest.mark.peer


def folder(path):
    return {"name": "disk", "type": "folder", "path": str(path)}


@pytest.fixture(scope="module")
def site(tmp_path_factory, engines):
    """One daemon for all faulty images: what one of them breaks, the next one meets."""
    root = tmp_path_factory.mktemp("site")
    config = write_config(root / "site.yaml", engines, [folder(root / "out")])
    with Daemon(config, root / "spool", ["decode.maximum_pixels_bytes=100000000"]) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def slow(tmp_path, slow_engines):
    """A daemon whose jobs take a while, with the folder tmp_path/out as its destination."""
    config = write_config(tmp_path / "site.yaml", slow_engines, [folder(tmp_path / "out")])
    with Daemon(config, tmp_path / "spool") as running:
        running.wait_ready()
        yield running


def documents(out):
    return [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]


# -- faulty images -----------------------------------------------------------------------------------------------------


def shorter(series):
    series[2].PixelData = series[2].PixelData[:-64]


def longer(series):
    series[2].PixelData += b"\0" * 64


def no_spacing(series):
    for data_set in series:
        del data_set.PixelSpacing


def doubled(series):
    series[3].ImagePositionPatient = series[4].ImagePositionPatient


def gantry_tilt(series):
    for k, data_set in enumerate(series):
        x, y, z = data_set.ImagePositionPatient
        data_set.ImagePositionPatient = [x, y + 0.3 * k, z]


def localizer(series):
    for data_set in series:
        data_set.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def two_patients(series):
    for data_set in series[4:]:
        data_set.Rows = 31
        data_set.PixelData = data_set.PixelData[: 31 * 32 * 2]


def no_position(series):
    del series[0].ImagePositionPatient


FAULTS = {
    "pixel_length_mismatch": longer, "truncated": shorter, "missing_spacing": no_spacing, "doubled_slices": doubled,
    "oblique_shear": gantry_tilt, "localizer": localizer, "mixed_size": two_patients, "missing_geometry": no_position,
}  # fmt: skip


@pytest.mark.parametrize("reason", FAULTS)
def test_images_that_make_no_volume_are_refused_with_their_reason_beside_good_ones(site, tmp_path, reason):
    faulty, good = ball_series(f"faulty-{reason}"), ball_series(f"good-{reason}")
    FAULTS[reason](faulty)
    save_series([*faulty[:4], *good, *faulty[4:]], tmp_path / "in")
    assert send(tmp_path / "in", site.dicom_port).returncode == 0
    (job,) = wait_states(site, faulty, "refused")
    assert job["reason"].startswith(f"{reason}: ")
    wait_states(site, good, "delivered")
    wait_until(lambda: site.metric("edge_jobs_refused_total", reason=reason) == 1)
    assert re.search(rf"job refused .*job={job['id']} .*{reason}", site.log.read_text())
    assert_log_is_clean(site, [*faulty, *good])


def test_a_truncated_data_set_is_acknowledged_kept_and_refused_with_its_reason(site):
    series = ball_series("cut")
    assert [store_bytes(site, one, encoded(one)[: -100 if k == 3 else None]) for k, one in enumerate(series)] == [0] * 8
    (job,) = wait_states(site, series, "refused")
    assert job["reason"].startswith("truncated: ")
    assert_log_is_clean(site, series)


def test_a_data_set_that_ends_within_its_header_is_quarantined_and_kept(site):
    (one,) = ball_series("cut-header", slices=1)
    data = encoded(one)
    before = image_count(site)
    assert store_bytes(site, one, data[: data.index(b"\x08\x00\x60\x00CS") + 5]) == 0
    wait_until(lambda: site.metric("edge_instances_indexed_total", outcome="quarantined") >= 1)
    assert image_count(site) == before + 1
    assert "instance refused" in site.log.read_text()
    assert_log_is_clean(site, [one])


def test_a_broken_jpeg_refuses_its_series_and_a_whole_one_is_analysed(site, tmp_path):
    for name in ("jpeg-broken", "jpeg-whole"):
        save_series(ball_series(name), tmp_path / "plain")
        for path in sorted((tmp_path / "plain").iterdir()):
            target = dcmtk(("dcmcjpeg", "+e1"), path, tmp_path / f"{name}-{path.name}")
            if name == "jpeg-broken" and path.name == "0003.dcm":
                data = bytearray(target.read_bytes())
                scan = data.rindex(b"\xff\xda")
                data[scan + 12 : scan + 40] = b"\xff\xc4" * 14
                target.write_bytes(data)
    sent = [
        subprocess.run(["storescu", "-aec", "EDGE", "-xs", "127.0.0.1", str(site.dicom_port), str(path)], check=False)
        for path in sorted(tmp_path.glob("jpeg-*.dcm"))
    ]
    assert {one.returncode for one in sent} == {0}
    (job,) = wait_states(site, ball_series("jpeg-broken"), "refused")
    assert job["reason"].startswith(("decode_failed: ", "truncated: "))
    wait_states(site, ball_series("jpeg-whole"), "delivered")
    assert_log_is_clean(site, ball_series("jpeg-broken"))


@pytest.mark.parametrize("character_set", ["ISO_IR 999", "\\ISO 2022 IR 87", None])
def test_results_come_out_whatever_the_character_set(site, tmp_path, character_set):
    name = b"M\xfcller^\xe9\xff"
    series = ball_series(f"charset {character_set}", SpecificCharacterSet=None, PatientName=None)
    for data_set in series:
        if character_set:
            data_set.SpecificCharacterSet = character_set.split("\\")
        data = encoded(data_set)
        element = b"\x10\x00\x10\x00PN" + len(name).to_bytes(2, "little") + name
        at = data.index(b"\x10\x00\x20\x00LO")
        assert store_bytes(site, data_set, data[:at] + element + data[at:]) == 0
    (job,) = wait_states(site, series, "delivered")
    reports = list((site.spool / "jobs" / job["id"] / "report").glob("*.dcm"))
    assert len(reports) >= 3
    for path in reports:
        assert name in path.read_bytes()
    assert "ller" not in site.log.read_text(errors="replace")
    assert_log_is_clean(site, series)


def test_an_oblique_series_without_shear_is_analysed(site, tmp_path):
    angle = np.radians(25)
    tilted = ((1.0, 0.0, 0.0), (0.0, float(np.cos(angle)), float(np.sin(angle))))
    series = ball_series("oblique", orientation=tilted)
    send_series(series, tmp_path / "in", site)
    wait_states(site, series, "delivered")


def test_two_patients_under_one_study_uid_get_their_own_results(site, tmp_path):
    one, two = ball_series("study-a"), ball_series("study-b", PatientName="Other^One", PatientID="PID-2")
    for data_set in two:
        data_set.StudyInstanceUID = one[0].StudyInstanceUID
    save_series([part for pair in zip(one, two, strict=True) for part in pair], tmp_path / "in")
    assert send(tmp_path / "in", site.dicom_port).returncode == 0
    for series in (one, two):
        (job,) = wait_states(site, series, "delivered")
        for path in (site.spool / "jobs" / job["id"] / "report").glob("*.dcm"):
            result = pydicom.dcmread(path, stop_before_pixels=True)
            assert result.PatientID == series[0].PatientID
            assert result.StudyInstanceUID == series[0].StudyInstanceUID


# -- a hostile network -------------------------------------------------------------------------------------------------


def test_what_is_no_dicom_on_the_dicom_port_is_let_go_and_counted(site):
    for hello in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-x\r\n", b"\0" * 64):
        with socket.create_connection(("127.0.0.1", site.dicom_port), 10) as peer:
            peer.sendall(hello)
            peer.settimeout(10)
            while peer.recv(1000):
                pass
    for _ in range(50):  # a port scan
        socket.create_connection(("127.0.0.1", site.dicom_port), 10).close()
    wait_until(lambda: site.metric("edge_receive_connections_ended_total", reason="not_dicom") >= 4)
    wait_until(lambda: site.metric("edge_receive_connections_ended_total", reason="peer_closed") >= 50)
    assert normal_peer_is_served(site.dicom_port, "1.2.826.0.1.3680043.9.77.1")
    assert_log_is_clean(site)


def test_a_flood_of_two_hundred_connections_does_not_stop_a_sender(site, tmp_path):
    series = ball_series("flood", slices=20)
    save_series(series, tmp_path / "in")
    peers = []
    try:
        for k in range(200):
            peers.append(socket.create_connection(("127.0.0.1", site.dicom_port), 10))
            if k % 3 == 0:
                peers[-1].sendall(b"\x01\x00\x00\x00")
            if k == 100:
                assert send(tmp_path / "in", site.dicom_port).returncode == 0
        assert normal_peer_is_served(site.dicom_port, "1.2.826.0.1.3680043.9.77.2")
    finally:
        for peer in peers:
            peer.close()
    wait_states(site, series, "delivered")
    assert site.metric("edge_receive_connections_shed_total") > 0
    assert_log_is_clean(site, series)


def test_a_multi_frame_object_of_300_mb_leaves_the_memory_of_receive_flat(site, tmp_path):
    clip = multi_frame(np.zeros((300, 1000, 1000), np.uint8), modality="CT", name="huge")
    save(clip, tmp_path / "in" / "huge.dcm")
    status = f"/proc/{site.role_pids()['receive']}/status"
    before = resident_kilobytes(status)
    seen = []
    over = threading.Event()

    def watch():
        while not over.wait(0.02):
            seen.append(resident_kilobytes(status))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        sent = send(tmp_path / "in", site.dicom_port, "-R", "-xe")
    finally:
        over.set()
        watcher.join()
    assert sent.returncode == 0, sent.stderr
    assert len(seen) > 5 and max(seen) < before + 16_000
    (job,) = wait_states(site, [clip], "refused", seconds=60)
    assert job["reason"].startswith("too_large: ")
    assert site.get("/readyz")[0] == 200
    assert_log_is_clean(site, [clip])


def resident_kilobytes(status):
    with open(status) as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])


def test_sighup_changes_nothing(site, tmp_path):
    pids = site.role_pids()
    for pid in (site.pid, *pids.values()):
        os.kill(pid, signal.SIGHUP)
    series = ball_series("sighup")
    send_series(series, tmp_path / "in", site)
    wait_states(site, series, "delivered")
    assert site.role_pids() == pids
