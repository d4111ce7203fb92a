"""Stock senders: DCMTK and pynetdicom against our receiver."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pynetdicom import AE, build_context
from pynetdicom.dsutils import encode
from support.dicom_peers import CT, EXPLICIT_LE, UID, RawPeer, Serving, data_set, serving, until

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.receive.negotiation import STORAGE_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from edge_runtime.receive.server import DicomServer
from edge_runtime.spool.instances import data_set_offset

ENCODINGS = {
    "implicit LE": "MR_small_implicit.dcm",
    "explicit LE": "MR_small.dcm",
    "explicit BE": "MR_small_bigendian.dcm",
    "deflated": "image_dfl.dcm",
    "RLE": "MR_small_RLE.dcm",
    "JPEG lossless": "SC_rgb_jpeg_gdcm.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "JPEG 2000": "MR_small_jp2klossless.dcm",
    "JPEG 2000 CT": "693_J2KI.dcm",
    "ultrasound": "examples_ybr_color.dcm",
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "spool") as running:
        yield running


def dcmtk(program: str, served: Serving, *arguments: str, nodelay: bool = False) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    if nodelay:
        environment["TCP_NODELAY"] = "1"
    command = [program, "-v", "-aet", "CT01", "-aec", "EDGE", "127.0.0.1", str(served.port), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.peer
def test_echoscu_is_answered(served: Serving) -> None:
    dcmtk("echoscu", served)
    assert served.metrics.counts[("edge_receive_echoes_total",)] == 1


@pytest.mark.peer
@pytest.mark.parametrize("nodelay", [False, True])
def test_storescu_stores_a_series(served: Serving, tmp_path: Path, nodelay: bool) -> None:
    names = []
    for number in range(12):
        data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        data.save_as(tmp_path / f"{number}.dcm")
        names.append(str(tmp_path / f"{number}.dcm"))
    dcmtk("storescu", served, *names, nodelay=nodelay)
    assert until(lambda: len(served.receipts) == 12)
    assert [receipt.arrival.sop_instance_uid for receipt in served.receipts] == [f"1.2.3.{n}" for n in range(1, 13)]
    for receipt in served.receipts:
        assert served.store.verify(receipt)
        read = pydicom.dcmread(served.store.path(receipt.id))
        assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID == receipt.arrival.sop_instance_uid
        assert read.pixel_array.shape == (128, 128)
    arrival = served.receipts[0].arrival
    assert (arrival.caller_ae_title, arrival.called_ae_title, arrival.caller_host) == ("CT01", "EDGE", "127.0.0.1")
    assert served.metrics.results("stored") == 12
    assert served.metrics.counts[("edge_receive_bytes_total",)] == sum(r.size_bytes for r in served.receipts)


@pytest.mark.parametrize("name", ENCODINGS.values(), ids=ENCODINGS)
def test_pynetdicom_stores_each_encoding_with_its_pixels_untouched(served: Serving, name: str) -> None:
    data = pydicom.dcmread(get_testdata_file(name))
    ae = AE("CT01")
    ae.add_requested_context(data.SOPClassUID, data.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", served.port, ae_title="EDGE")
    assert association.is_established
    try:
        assert association.send_c_store(data).Status == 0x0000
    finally:
        association.release()
    assert until(lambda: len(served.receipts) == 1)
    (receipt,) = served.receipts
    path = served.store.path(receipt.id)
    syntax = data.file_meta.TransferSyntaxUID
    sent = encode(data, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    assert path.read_bytes()[data_set_offset(path) :] == sent
    stored = pydicom.dcmread(path)
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert stored.PixelData == data.PixelData
    assert served.store.verify(receipt)


def test_pynetdicom_sees_every_class_and_syntax_accepted_and_others_refused(served: Serving) -> None:
    other = "1.2.840.10008.5.1.4.1.1.481.2"
    offers = [build_context(sop_class, list(TRANSFER_SYNTAXES)) for sop_class in STORAGE_CLASSES]
    offers += [build_context(CT, syntax) for syntax in TRANSFER_SYNTAXES]
    offers += [build_context(VERIFICATION), build_context(other), build_context(CT, "1.2.840.10008.1.2.4.107")]
    ae = AE("CT01")
    association = ae.associate("127.0.0.1", served.port, contexts=offers, ae_title="EDGE")
    assert association.is_established
    rejected = [(context.abstract_syntax, context.result) for context in association.rejected_contexts]
    accepted = [(context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts]
    association.release()
    assert rejected == [(other, 3), (CT, 4)]
    assert {abstract for abstract, _ in accepted} == {*STORAGE_CLASSES, VERIFICATION}
    assert {syntax for abstract, syntax in accepted if abstract == CT} == set(TRANSFER_SYNTAXES)


def test_several_senders_at_once_are_all_stored(served: Serving) -> None:
    statuses: list[int] = []

    def send(number: int) -> None:
        with RawPeer(served.port, source=f"127.0.0.{number + 2}").associate() as peer:
            for one in range(10):
                uid = f"{UID}.{number}.{one}"
                statuses.append(peer.store(data_set(sop_instance=uid, pixel_bytes=200_000), sop_instance=uid))
            peer.release()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 60
    assert until(lambda: len(served.receipts) == 60)
    assert len({receipt.arrival.sop_instance_uid for receipt in served.receipts}) == 60
    assert all(served.store.verify(receipt) for receipt in served.receipts)


def test_a_port_in_use_is_said_in_one_clear_line(served: Serving) -> None:
    other = DicomServer(
        served.config.__class__(host="127.0.0.1", port=served.port), served.store, print, served.metrics
    )
    with pytest.raises(EdgeRuntimeError, match=r"port 127\.0\.0\.1:\d+ cannot be opened.*receive\.dicom\.port"):
        other.start()


def test_an_address_of_another_machine_is_said_in_one_clear_line(served: Serving) -> None:
    other = DicomServer(served.config.__class__(host="192.0.2.1", port=0), served.store, print, served.metrics)
    with pytest.raises(EdgeRuntimeError, match=r"cannot be opened.*receive\.dicom\.host"):
        other.start()


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_stopping_lets_a_running_store_finish_then_aborts_and_accepts_no_more(tmp_path: Path) -> None:
    with (
        serving(tmp_path) as served,
        RawPeer(served.port).associate() as busy,
        RawPeer(served.port).associate() as idle,
    ):
        data, port = data_set(pixel_bytes=100_000), served.port
        busy.send_store()
        busy.send_data(data[:50_000], last=False)
        assert until(lambda: len(served.files()) == 1)
        stopping = threading.Thread(target=served.server.stop, args=(10.0,))
        stopping.start()
        assert idle.read_pdu()[0] == 7, "an idle association is aborted at once"
        assert until(lambda: refuses_connections(port))
        busy.send_data(data[50_000:])
        assert busy.status() == 0
        assert busy.read_pdu()[0] == 7
        busy.socket.close()
        idle.socket.close()
        stopping.join(5)
        assert not stopping.is_alive()
        assert len(served.receipts) == 1
        assert served.store.verify(served.receipts[0])
    assert served.metrics.ended("stopping") == 2


def test_stopping_aborts_a_store_that_does_not_finish_in_time(tmp_path: Path) -> None:
    with serving(tmp_path) as served, RawPeer(served.port).associate() as stuck:
        stuck.send_store()
        stuck.send_data(data_set(pixel_bytes=100_000), last=False)
        assert until(lambda: len(served.files()) == 1)
        started = time.monotonic()
        stopping = threading.Thread(target=served.server.stop, args=(0.3,))
        stopping.start()
        assert stuck.read_pdu()[0] == 7
        stuck.socket.close()
        stopping.join(5)
        assert time.monotonic() - started < 5
    assert served.files() == []
    assert served.metrics.ended("stopping") == 1


def test_nothing_of_the_patient_or_the_object_reaches_the_log(
    served: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"), RawPeer(served.port).associate() as peer:
        assert peer.store(data_set()) == 0
        assert peer.store(data_set(sop_instance=UID + ".7")) == 0xA900
        assert peer.store(data_set(), sop_instance="../" + UID) == 0xC001
        peer.release()
        assert until(lambda: any(record.message == "association ended" for record in caplog.records))
    events = [{"message": record.message, **record.event} for record in caplog.records if hasattr(record, "event")]
    ended = next(event for event in events if event["message"] == "association ended")
    assert (ended["stored"], ended["refused"], ended["reason"]) == (1, 2, "released")
    assert UID not in repr(events) + caplog.text
    assert CT not in repr(events) + caplog.text
    assert EXPLICIT_LE not in repr(events) + caplog.text
