"""What stands in for the hospital's destinations answers as they do, and notes what came when."""

import json
import time

import requests
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage
from support.site import ball_series, save_series

from benchmarks.acceptance.stand_ins import StandIns, parts_of
from edge_runtime.config import Config, Destination, Pipeline, SendTo, Spool, Stage, Video
from edge_runtime.deliver.stow import delivery_of_response, multipart_head, multipart_tail

DESTINATIONS = (
    Destination("pacs", "dicom", ae_title="PACS", host="192.0.2.1", port=104),
    Destination("web", "dicomweb", url="https://192.0.2.1/stow"),
    Destination("hook", "webhook", url="https://192.0.2.1/hook", secret_file="/nonexistent"),
    Destination("disk", "folder", path="/nonexistent"),
    Destination("lines", "jsonlines", path="/nonexistent/lines"),
    Destination("broker", "mqtt", host="192.0.2.1", port=1883, topic="t"),
)
CONFIG = Config(
    Spool("/nonexistent"), (Pipeline("live", (Stage("a", "a"),), send_to=(SendTo("lines"),)),),
    destinations=DESTINATIONS, video=(Video("tower", "live", "x"),),
)  # fmt: skip


def test_every_destination_but_mqtt_has_one_that_takes_results_and_ends_with_the_context(tmp_path):
    save_series(ball_series("x", slices=1), tmp_path / "series")
    (file,) = (tmp_path / "series").iterdir()
    one = dcmread(file)
    began = time.time()
    with StandIns(CONFIG, tmp_path / "work") as stand_ins:
        assert set(stand_ins.places) == {"pacs", "web", "hook", "disk", "lines"}
        places = stand_ins.places
        ae = AE("EDGE")
        ae.add_requested_context(CTImageStorage, one.file_meta.TransferSyntaxUID)
        peer = ae.associate("127.0.0.1", places["pacs"].port, ae_title="PACS")
        assert peer.send_c_store(one).Status == 0
        peer.release()
        body = multipart_head("b0") + file.read_bytes() + multipart_tail("b0")
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b0'}
        url = f"http://127.0.0.1:{places['web'].port}/studies"
        answer = requests.post(url, data=body, headers=headers, timeout=5)
        delivery = delivery_of_response(answer.status_code, answer.content, one.SOPInstanceUID)
        assert delivery.reason.value == "stored"
        assert requests.post(f"http://127.0.0.1:{places['hook'].port}/", data=b"{}", timeout=5).status_code == 200
        (places["disk"].folder / "1-result.json").write_text(json.dumps({"study_instance_uid": "1.2"}))
        (places["disk"].folder / ".partial").write_text("not whole yet")
        (places["lines"].folder / "tower.jsonl").write_text('{"source": "tower"}\n')
        arrived = stand_ins.arrived()
        assert {(a.destination, a.study_uid) for a in arrived} == {
            ("pacs", one.StudyInstanceUID), ("web", one.StudyInstanceUID), ("hook", ""), ("disk", "1.2")
        }  # fmt: skip
        assert all(began - 0.1 <= a.at <= time.time() for a in arrived)
        assert stand_ins.lines("live") == [{"source": "tower"}]
        assert places["hook"].secret_file.stat().st_mode & 0o077 == 0
    for name in ("pacs", "web", "hook"):
        assert not requests_reach(places[name].port)


def requests_reach(port):
    try:
        requests.get(f"http://127.0.0.1:{port}/", timeout=1)
    except requests.RequestException:
        return False
    return True


def test_a_body_without_a_boundary_has_no_parts():
    assert parts_of("application/dicom", b"x") == []
    assert parts_of('multipart/related; boundary="b"; type=x', b"--b\r\nA: 1\r\n\r\none\r\n--b--\r\n") == [b"one"]
