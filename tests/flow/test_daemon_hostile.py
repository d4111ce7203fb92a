"""Faulty input and a hostile world against the whole daemon: it says why, serves the others, and loses nothing."""

import contextlib
import hashlib
import json
import os
import random
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import numpy as np
import pydicom
import pytest
from support.dicom_objects import ct_series, dcmtk, multi_frame, save, save_series
from support.dicom_peers import CT, RawPeer, explicit, normal_peer_is_served
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
from support.site import PATIENT_ID, PATIENT_NAME, ball_series, build_engine, send, send_series, write_config

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


def two_sizes(series):
    for data_set in series[4:]:
        data_set.Rows = 31
        data_set.PixelData = data_set.PixelData[: 31 * 32 * 2]


def no_position(series):
    del series[0].ImagePositionPatient


FAULTS = {
    "pixel_length_mismatch": longer, "truncated": shorter, "missing_spacing": no_spacing, "doubled_slices": doubled,
    "oblique_shear": gantry_tilt, "localizer": localizer, "mixed_size": two_sizes, "missing_geometry": no_position,
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


@pytest.mark.parametrize("character_set", ["ISO_IR 999", "\\ISO 2022 IR 87 ", None])
def test_results_come_out_whatever_the_character_set(site, tmp_path, character_set):
    name = b"M\xfcller^\xe9\xff"
    series = ball_series(f"charset {character_set}", SpecificCharacterSet=None, PatientName=None)
    stated = explicit(0x0008, 0x0005, "CS", character_set.encode()) if character_set else b""
    for data_set in series:
        data = stated + encoded(data_set)
        at = data.index(b"\x10\x00\x20\x00LO")
        assert store_bytes(site, data_set, data[:at] + explicit(0x0010, 0x0010, "PN", name) + data[at:]) == 0
    (job,) = wait_states(site, series, "delivered")
    reports = list((site.spool / "jobs" / job["id"] / "report").glob("*.dcm"))
    assert len(reports) >= 3
    for path in reports:
        assert name in path.read_bytes()
    assert "ller^" not in site.log.read_text(errors="replace")
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


# -- late slices -------------------------------------------------------------------------------------------------------


def input_counts(out):
    return sorted(document["input_count"] for document in documents(out))


def test_slices_that_come_while_their_job_waits_join_it(slow, out, tmp_path):
    ahead = [ball_series(f"ahead-{n}") for n in range(4)]  # each takes the engine for a while
    series = ball_series("waits", slices=10)
    for n, one in enumerate(ahead):
        save_series(one, tmp_path / "ahead" / str(n))
    assert send(tmp_path / "ahead", slow.dicom_port, "+r").returncode == 0
    wait_until(lambda: "running" in all_states(slow), 30)
    send_series(series[:8], tmp_path / "early", slow)
    wait_states(slow, series, "pending")
    send_series(series[8:], tmp_path / "late", slow)
    wait_states(slow, series, "delivered")
    assert input_counts(out) == [8, 8, 8, 8, 10]
    assert_log_is_clean(slow, series)


def test_slices_that_come_while_their_job_runs_make_a_second_revision(slow, out, tmp_path):
    series = ball_series("runs", slices=10)
    send_series(series[:8], tmp_path / "early", slow)
    wait_states(slow, series, "running")
    send_series(series[8:], tmp_path / "late", slow)
    wait_states(slow, series, "delivered", "delivered")
    assert input_counts(out) == [8, 10]
    assert_second_report_names_the_first(out)


def test_slices_that_come_while_their_report_is_written_make_a_second_revision(slow, out, tmp_path):
    series = ball_series("reported", slices=10)
    send_series(series[:8], tmp_path / "early", slow)
    wait_states(slow, series, "running")
    report = slow.role_pids()["report"]
    os.kill(report, signal.SIGSTOP)
    wait_states(slow, series, "concluded")
    send_series(series[8:], tmp_path / "late", slow)
    wait_states(slow, series, "concluded", "concluded", seconds=15)
    os.kill(report, signal.SIGCONT)
    wait_states(slow, series, "delivered", "delivered")
    assert slow.role_pids()["report"] == report
    assert input_counts(out) == [8, 10]
    assert_second_report_names_the_first(out)


def assert_second_report_names_the_first(out):
    reports = [pydicom.dcmread(path) for path in out.glob("*-sr*.dcm")]
    (second,) = [report for report in reports if "PredecessorDocumentsSequence" in report]
    (first,) = [report for report in reports if report is not second]
    named = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID


# -- a PACS that misbehaves --------------------------------------------------------------------------------------------


def refuses(connection, over):
    read_pdu(connection)
    connection.sendall(reject_pdu(1, 1, 1))
    over.wait(0.2)


def aborts(connection, over):
    read_pdu(connection)
    connection.sendall(abort_pdu())


def hangs(connection, over):
    over.wait()


def test_every_pacs_gets_its_results_once_it_behaves_and_none_keeps_the_others_back(tmp_path, engines, out):
    reasons = {refuses: "refused_association", aborts: "aborted", hangs: "timeout", None: "away"}
    series = ball_series("pacs-trouble")
    with contextlib.ExitStack() as trouble:
        ports = {b: trouble.enter_context(raw_server(b)) if b else free_port() for b in reasons}
        names = {b: reasons[b].replace("_", "-") for b in reasons}
        policy = {"timeout_seconds": 0.5, "retry_seconds": 0.2, "retry_maximum_seconds": 1.0}
        peers = [
            {"name": names[b], "type": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": ports[b], **policy}
            for b in reasons
        ]
        config = write_config(tmp_path / "site.yaml", engines, [*peers, folder(out)])
        with Daemon(config, tmp_path / "spool") as daemon:
            daemon.wait_ready()
            send_series(series, tmp_path / "in", daemon)
            wait_until(lambda: documents(out), 20)
            for b, reason in reasons.items():
                labels = {"destination": names[b], "outcome": "deferred", "reason": reason}
                wait_until(lambda labels=labels: daemon.metric("edge_deliveries_total", **labels) > 1, 20)
                assert f"destination={names[b]}" in daemon.log.read_text()
                assert daemon.metric("edge_destination_up", destination=names[b]) == 0
            wait_states(daemon, series, "reported")
            assert daemon.get("/readyz")[0] == 200
            trouble.close()
            with contextlib.ExitStack() as mended:
                stubs = [mended.enter_context(StubPacs(port=port).running()) for port in ports.values()]
                wait_states(daemon, series, "delivered")
                kept = {tuple(sorted(stub.received)) for stub in stubs}
            assert len(kept) == 1 and len(kept.pop()) >= 3
            assert_log_is_clean(daemon, series)


# -- workers that hang, die or run out of memory -----------------------------------------------------------------------


def test_an_inference_that_hangs_is_ended_and_its_job_runs_again(tmp_path, slow_engines, out):
    config = write_config(tmp_path / "site.yaml", slow_engines, [folder(out)], maximum_seconds=6)
    with Daemon(config, tmp_path / "spool") as daemon:
        daemon.wait_ready()
        series = ball_series("hangs")
        send_series(series, tmp_path / "in", daemon)
        wait_states(daemon, series, "running")
        pid = daemon.role_pids()["infer"]
        os.kill(pid, signal.SIGSTOP)
        meanwhile = ball_series("meanwhile")
        send_series(meanwhile, tmp_path / "in2", daemon)
        wait_until(lambda: daemon.role_pids().get("infer") not in (None, pid), 20)
        (job,) = wait_states(daemon, series, "delivered")
        assert job["attempts"] == 2
        wait_states(daemon, meanwhile, "delivered")
        assert daemon.metric("edge_role_restarts_total", role="infer", blame="item") == 1
        assert "role hangs and is killed role=infer activity=job" in daemon.log.read_text()
        assert_log_is_clean(daemon, series)


def test_an_inference_without_memory_never_gives_a_whole_answer_and_works_again_with_memory(slow, out, tmp_path):
    identity = {"PatientName": PATIENT_NAME, "PatientID": PATIENT_ID}
    series = ct_series(np.zeros((12, 1024, 1024)), name="memory", **identity)
    infer = slow.role_pids()["infer"]
    wait_until(lambda: len(decode_worker_pids(slow)) == 2)
    time.sleep(1)  # its threads have started too: the limit is for the study
    with open(f"/proc/{infer}/statm") as file:
        size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    unlimited = resource.prlimit(infer, resource.RLIMIT_AS, (size + 24_000_000, resource.RLIM_INFINITY))
    send_series(series, tmp_path / "in", slow)
    wait_until(lambda: set(all_states(slow)) & {"parked", "delivered"}, 60)
    assert [document["complete"] for document in documents(out)] in ([], [False])
    assert "MemoryError" in slow.log.read_text()
    assert slow.metric("edge_stage_outcomes_total", outcome="ran") == 0
    assert slow.role_pids()["infer"] == infer
    resource.prlimit(infer, resource.RLIMIT_AS, unlimited)
    healthy = ball_series("healthy")
    send_series(healthy, tmp_path / "healthy", slow)
    wait_states(slow, healthy, "delivered")
    assert documents(out)[-1]["complete"]
    assert_log_is_clean(slow, series)


def decode_worker_pids(daemon):
    found, infer = [], daemon.role_pids()["infer"]
    for entry in os.listdir("/proc"):
        with (
            contextlib.suppress(OSError, ValueError),
            open(f"/proc/{int(entry)}/stat") as stat,
            open(f"/proc/{entry}/cmdline") as cmdline,
        ):
            parent = int(stat.read().rpartition(")")[2].split()[1])
            if parent == infer and "decode_worker" in cmdline.read():
                found.append(int(entry))
    return found


def test_decode_processes_that_are_killed_at_work_cost_no_study(daemon, tmp_path):
    warm, series = ball_series("decode-warm"), ball_series("decode-killed")
    send_series(warm, tmp_path / "warm", daemon)
    wait_states(daemon, warm, "delivered")
    workers = decode_worker_pids(daemon)
    assert len(workers) == 2
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # so that each holds an image
    send_series(series, tmp_path / "in", daemon)
    wait_until(lambda: jobs_of(daemon, series[0].SeriesInstanceUID))
    time.sleep(0.3)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_states(daemon, series, "delivered")
    assert daemon.metric("edge_decode_worker_replacements_total", reason="decode_crashed") == 2
    assert "decode process replaced" in daemon.log.read_text()
    assert_log_is_clean(daemon, series)


# -- the daemon's own life ---------------------------------------------------------------------------------------------


def store_or_fail(daemon, data_set):
    """Send one image to a daemon that may be ending; True when it was acknowledged."""
    try:
        with RawPeer(daemon.dicom_port) as peer:
            status = peer.associate().store(encoded(data_set), CT, str(data_set.SOPInstanceUID))
            peer.release()
            return status == 0
    except (OSError, EOFError, AssertionError):
        return False


def test_sigterm_under_load_ends_with_0_in_time_and_keeps_every_acknowledged_image(tmp_path, engines, out):
    config = write_config(tmp_path / "site.yaml", engines, [folder(out)])
    acknowledged = []
    with Daemon(config, tmp_path / "spool") as daemon:
        daemon.wait_ready()
        over = threading.Event()

        def load(sender):
            for n in range(1000):
                for one in ball_series(f"load-{sender}-{n}", slices=4):
                    if over.is_set():
                        return
                    if store_or_fail(daemon, one):
                        acknowledged.append(str(one.SOPInstanceUID))

        senders = [threading.Thread(target=load, args=(k,)) for k in range(3)]
        for sender in senders:
            sender.start()
        wait_until(lambda: len(acknowledged) > 60)
        started = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - started < 20
        over.set()
        for sender in senders:
            sender.join()
        daemon.start()
        daemon.wait_ready()
        seen = {row["sop_instance_uid"] for row in journal(daemon.spool, "SELECT * FROM instances")}
        assert set(acknowledged) <= seen
        in_no_job = "SELECT count(*) AS n FROM instances WHERE id NOT IN (SELECT instance_id FROM job_instances)"
        wait_until(lambda: journal(daemon.spool, in_no_job) == [{"n": 0}], 120)
        wait_until(lambda: set(all_states(daemon)) <= {"delivered", "refused"}, 120)
        assert_log_is_clean(daemon)


def test_an_edited_configuration_changes_nothing_until_the_daemon_starts_again(daemon, out, tmp_path):
    daemon.config.write_text("pipelines: [oops")
    for role in ("infer", "deliver"):
        pid = daemon.role_pids()[role]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda role=role, pid=pid: daemon.role_pids().get(role) not in (None, pid))
    daemon.wait_ready()
    series = ball_series("edited")
    send_series(series, tmp_path / "in", daemon)
    wait_states(daemon, series, "delivered")


def test_an_engine_changed_under_the_daemon_stops_inference_only_and_readiness_says_why(tmp_path, out):
    engines = build_engine(tmp_path / "engines")
    config = write_config(tmp_path / "site.yaml", engines, [folder(out)])
    with Daemon(config, tmp_path / "spool") as daemon:
        daemon.wait_ready()
        path = engines / "bright" / "onnxruntime-fp32" / "engine.onnx"
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        os.kill(daemon.role_pids()["infer"], signal.SIGKILL)
        wait_until(lambda: "restart budget spent" in daemon.log.read_text(), 20)
        series = ball_series("kept")
        send_series(series, tmp_path / "in", daemon)
        assert image_count(daemon) == 8
        status, body = daemon.get("/readyz")
        assert status == 503
        assert {reason["role"] for reason in json.loads(body)} == {"infer"}
        assert any("bright" in reason["reason"] for reason in json.loads(body))
        assert daemon.get("/livez")[0] == 200
        assert_log_is_clean(daemon, series)


def run_once(daemon):
    done = subprocess.run(daemon.command(), capture_output=True, timeout=60, check=False)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(("what", "expected"), [("a file", 1), ("of a newer version", 78), ("below a file", 1)])
def test_a_spool_that_cannot_be_used_ends_the_daemon_with_one_clear_line(tmp_path, engines, what, expected):
    config = write_config(tmp_path / "site.yaml", engines, [folder(tmp_path / "out")])
    spool = tmp_path / "spool"
    if what == "of a newer version":
        spool.mkdir()
        (spool / "VERSION").write_text("99\n")
    else:
        spool.write_text("this is no folder")
    used = spool / "below" if what == "below a file" else spool
    code, said = run_once(Daemon(config, used, log=tmp_path / "log"))
    assert code == expected
    assert str(used) in said.splitlines()[-1] and "Traceback" not in said


# -- clocks ------------------------------------------------------------------------------------------------------------

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@pytest.mark.skipif(not os.path.exists(FAKETIME), reason="needs the package faketime")
@pytest.mark.parametrize("jump", ["-10d", "+400d"])
def test_a_clock_that_jumps_delays_no_series_and_deletes_nothing_before_its_delivery(
    tmp_path, engines, out, monkeypatch, jump
):
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    for name, value in {
        "LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    config = write_config(tmp_path / "site.yaml", engines, [folder(out)], complete_after_seconds=8)
    daemon = Daemon(config, tmp_path / "spool")
    daemon.start()
    monkeypatch.undo()
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(daemon.stop)
        daemon.wait_ready()
        series = ball_series("jump", slices=10)
        send_series(series[:5], tmp_path / "before", daemon)
        wait_until(lambda: daemon.metric("edge_instances_indexed_total", outcome="matched") == 5)
        clock.write_text(f"{jump}\n")
        send_series(series[5:], tmp_path / "after", daemon)
        wait_states(daemon, series, "delivered")
        assert input_counts(out) == [10]
        clock.write_text("+0\n")
        again = ball_series("jump-back")
        send_series(again, tmp_path / "again", daemon)
        wait_states(daemon, again, "delivered")
        assert input_counts(out) == [8, 10]
        assert daemon.get("/readyz")[0] == 200
        assert len(daemon.role_pids()) == 4 and "role ended" not in daemon.log.read_text()
        assert_log_is_clean(daemon, series)


# -- the spool between two starts --------------------------------------------------------------------------------------


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_journal_deleted_at_any_state_of_its_jobs_changes_no_result(tmp_path, slow_engines, out):
    config = write_config(tmp_path / "site.yaml", slow_engines, [folder(out)])
    wanted = ("collecting", "running", "reporting")
    seen = {}
    with Daemon(config, tmp_path / "spool") as daemon:
        for n in range(len(wanted)):
            daemon.wait_ready()
            series = ball_series(f"journal-{n}")
            send_series(series, tmp_path / f"in-{n}", daemon)
            reached(daemon, series, wanted[n:])
            daemon.kill_all()
            kept = hashes(out) if out.exists() else {}
            assert seen.items() <= kept.items()
            for path in daemon.spool.glob("journal.sqlite*"):
                path.unlink()
            daemon.start()
            daemon.wait_ready()
            wait_states(daemon, series, "delivered", seconds=60)
            seen = hashes(out)
            assert kept.items() <= seen.items()
            assert len(documents(out)) == n + 1


def reached(daemon, series, states):
    """Wait until the job of a series is in one of the states."""
    uid = str(series[0].SeriesInstanceUID)
    give_up_at = time.monotonic() + 30
    while [job["state"] for job in jobs_of(daemon, uid)][-1:] not in [[state] for state in states]:
        assert time.monotonic() < give_up_at


def test_a_report_that_lies_there_is_taken_as_it_is_whatever_the_journal_says(daemon, out, tmp_path):
    series = ball_series("renamed")
    send_series(series, tmp_path / "in", daemon)
    (job,) = wait_states(daemon, series, "delivered")
    before = hashes(out)
    for state in ("reporting", "running"):
        assert daemon.stop() == 0
        with contextlib.closing(sqlite3.connect(daemon.spool / "journal.sqlite")) as db, db:
            db.execute("UPDATE jobs SET state = ?, attempts = 1, report_attempts = 1", (state,))
            db.execute("DELETE FROM deliveries")
            db.execute("DELETE FROM results")
        (daemon.spool / "jobs" / job["id"] / "delivered.jsonl").unlink()
        daemon.start()
        daemon.wait_ready()
        wait_states(daemon, series, "delivered")
        assert hashes(out) == before


# -- killed, and killed again ------------------------------------------------------------------------------------------

STORM_SECONDS = float(os.environ.get("EDGE_STORM_SECONDS", "10"))


def storm(daemon, rng):
    """Kill one role or all every 0.3 to 1.5 s; how often."""
    end_at = time.monotonic() + STORM_SECONDS
    kills = 0
    while time.monotonic() < end_at:
        time.sleep(rng.uniform(0.3, 1.5))
        victim = rng.choice(["receive", "infer", "report", "deliver", "all"])
        if victim == "all" or daemon.process.poll() is not None:
            with contextlib.suppress(ProcessLookupError):
                daemon.kill_all()
            daemon.start()
        elif victim in (pids := daemon.role_pids()):
            os.kill(pids[victim], signal.SIGKILL)
        kills += 1
    return kills


def test_a_storm_of_kills_loses_nothing_that_was_acknowledged_and_makes_nothing_twice(tmp_path, engines):
    rng = random.Random(STORM_SECONDS)
    with StubPacs().running() as pacs:
        peer = {"type": "dicom", "ae_title": "ANY", "host": "127.0.0.1", "port": pacs.port}
        peer |= {"retry_seconds": 0.1, "retry_maximum_seconds": 1.0}
        config = write_config(tmp_path / "site.yaml", engines, [{"name": "pacs", **peer}])
        with Daemon(config, tmp_path / "spool") as daemon:
            daemon.wait_ready()
            over = threading.Event()
            done = []

            def sender(name):
                n = 0
                while not over.is_set():
                    series = ball_series(f"storm-{name}-{n}")
                    for one in series:
                        while not store_or_fail(daemon, one):
                            time.sleep(0.1)
                    done.append(series)
                    n += 1
                    time.sleep(0.5)

            senders = [threading.Thread(target=sender, args=(k,)) for k in range(2)]
            for thread in senders:
                thread.start()
            kills = storm(daemon, rng)
            daemon.kill_all()  # and with it every spent budget
            daemon.start()
            over.set()
            for thread in senders:
                thread.join()
            daemon.wait_ready()
            wait_until(lambda: set(all_states(daemon)) <= {"delivered", "parked"}, 90)
            for job in journal(daemon.spool, "SELECT * FROM jobs WHERE state = 'parked'"):
                assert max(job["attempts"], job["report_attempts"]) >= 2 or job["interruptions"] >= 10, job
                assert retry(daemon, job["id"]) == 0
            wait_until(lambda: set(all_states(daemon)) == {"delivered"}, 60)
            for series in done:
                jobs = jobs_of(daemon, str(series[0].SeriesInstanceUID))
                ids = "SELECT count(*) AS n FROM job_instances WHERE job_id = ?"
                assert journal(daemon.spool, ids, jobs[-1]["id"])[0]["n"] == 8
            assert_log_is_clean(daemon, done[0])
        found = {}
        for uid, data in pacs.received:
            found.setdefault(uid, set()).add(hashlib.sha256(data).hexdigest())
    print(f"{kills} kills, {len(done)} series, {len(found)} objects, {len(pacs.received)} deliveries")
    assert len(found) >= 3 * len(done)
    assert {len(digests) for digests in found.values()} == {1}


def retry(daemon, job_id):
    sets = [part for override in daemon.overrides for part in ("--set", override)]
    command = [*daemon.command()[:3], "jobs", "retry", str(daemon.config), job_id, *sets]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
