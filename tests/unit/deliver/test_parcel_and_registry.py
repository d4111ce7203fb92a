from __future__ import annotations

from pathlib import Path

import pytest
from support.parcels import make_parcel

from edge_runtime import config
from edge_runtime.deliver.base import Parcel, Reason, SendFailed
from edge_runtime.deliver.dicom import DicomDestination
from edge_runtime.deliver.dicomweb import DicomWebDestination
from edge_runtime.deliver.folder import FolderDestination
from edge_runtime.deliver.part10 import open_part10
from edge_runtime.deliver.registry import accepted_kinds, build_destination
from edge_runtime.deliver.webhook import WebhookDestination
from edge_runtime.result_objects import ResultKind

DICOM = config.Destination("pacs", "dicom", ae_title="ORTHANC", host="127.0.0.1", port=4242)
WEB = config.Destination("web", "dicomweb", url="http://127.0.0.1:8042/dicom-web/")
DISK = config.Destination("disk", "folder", path="/out")
HOOK = config.Destination("alert", "webhook", url="https://example.org/edge", secret_file="/alert.key")


def test_each_type_of_the_configuration_has_its_destination():
    kinds = {DICOM: DicomDestination, WEB: DicomWebDestination, DISK: FolderDestination, HOOK: WebhookDestination}
    for settings, kind in kinds.items():
        destination = build_destination(settings, "EDGE")
        assert isinstance(destination, kind)
        assert destination.name == settings.name


def test_json_goes_to_folders_only_and_events_to_webhooks_only():
    assert accepted_kinds(DISK) == frozenset(ResultKind) - {ResultKind.EVENT}
    assert accepted_kinds(DICOM) == accepted_kinds(WEB) == accepted_kinds(DISK) - {ResultKind.JSON}
    assert accepted_kinds(HOOK) == {ResultKind.EVENT}


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\0b"])
def test_a_name_that_is_a_path_makes_no_parcel(name):
    with pytest.raises(ValueError, match="plain names"):
        Parcel("job", ResultKind.SR, Path("x"), "", None, None, name)
    with pytest.raises(ValueError, match="plain names"):
        Parcel(name, ResultKind.SR, Path("x"), "", None, None, "sr.dcm")


def test_a_part_10_file_is_known_by_its_meta_information(tmp_path):
    parcel = make_parcel(tmp_path, ResultKind.SEG)
    part10 = open_part10(parcel)
    with part10.file:
        assert (part10.sop_class_uid, part10.sop_instance_uid) == (parcel.sop_class_uid, parcel.sop_instance_uid)
        assert part10.size_bytes == parcel.path.stat().st_size
        part10.file.seek(part10.data_offset)
        assert part10.file.read(4) == b"\x08\x00\x08\x00" or part10.file.read(2) != b"\x02\x00"


@pytest.mark.parametrize("cut", [0, 100, 132, 140, 200])
def test_a_file_that_is_no_dicom_is_parked(tmp_path, cut):
    import hashlib
    from dataclasses import replace

    parcel = make_parcel(tmp_path, ResultKind.SEG)
    parcel.path.write_bytes(parcel.path.read_bytes()[:cut])
    parcel = replace(parcel, sha256=hashlib.sha256(parcel.path.read_bytes()).hexdigest())
    with pytest.raises(SendFailed) as caught:
        open_part10(parcel)
    assert caught.value.delivery.reason is Reason.UNREADABLE
