"""Every rule of the configuration: each breach is told at its line, with its key."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_runtime.config import Config
from edge_runtime.yaml_schema import ConfigurationInvalid, read_schema

WHOLE = """
spool: {path: /var/lib/edge-runtime, reserve_bytes: 5_000_000_000}
retention: {originals_hours: 24, results_days: 7, on_pressure: oldest_delivered_first}
receive:
  dicom:
    ae_title: EDGE
    host: 0.0.0.0
    port: 11112
    callers: [{ae_title: CT01, hosts: [10.1.2.3/32]}]
engines: {path: /var/lib/edge-runtime/engines, backend: auto, trusted_keys: [], allow_unsigned: true, cuda: {}}
pipelines:
  - name: ct-head-triage
    match: {modality: CT, body_part: [HEAD, BRAIN]}
    complete_after_seconds: 5
    deadline_seconds: 60
    stages:
      - {name: triage, engine: ct-hemorrhage-classifier}
      - {name: lesions, engine: ct-hemorrhage-detector, when: triage.hemorrhage.positive}
      - {name: volume, engine: ct-hemorrhage-segmenter, within: lesions, optional: true}
    results: [sr, seg, overlay, json]
    send_to: [pacs, {name: disk, results: [sr, overlay]}]
destinations:
  - {name: pacs, type: dicom, ae_title: ORTHANC, host: 127.0.0.1, port: 4242}
  - {name: web, type: dicomweb, url: "http://127.0.0.1:8042/dicom-web"}
  - {name: disk, type: folder, path: /var/lib/edge-runtime/out}
  - {name: alert, type: webhook, url: "https://worklist.example.org/edge", secret_file: /etc/edge-runtime/alert.key}
http: {host: 127.0.0.1, port: 9464}
"""


def read(tmp_path: Path, document: Any) -> Config:
    path = tmp_path / "site.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return read_schema(Config, path)


def changed(key: str, value: object) -> Any:
    document = copy.deepcopy(yaml.safe_load(WHOLE))
    node: Any = document
    *parents, last = [int(part) if part.isdigit() else part for part in re.split(r"[.\[\]]+", key) if part]
    for part in parents:
        node = node[part]
    node[last] = value
    return document


def test_the_documented_configuration_is_valid(tmp_path: Path) -> None:
    config = read(tmp_path, WHOLE)
    pipeline = config.pipeline("ct-head-triage")
    assert pipeline is not None
    assert pipeline.match.modality == ("CT",)
    assert [send.name for send in pipeline.send_to] == ["pacs", "disk"]
    assert pipeline.send_to[1].results == ("sr", "overlay")
    assert config.pipeline("nobody") is None


def test_the_shortest_configuration_has_safe_defaults(tmp_path: Path) -> None:
    config = read(tmp_path, "spool: {path: s}\npipelines: []\n")
    assert config.http.host == "127.0.0.1"
    assert not config.engines.allow_unsigned
    assert config.receive.dicom.callers is None
    assert config.spool.reserve_bytes == 5_000_000_000


RULES = [
    ("spool.path", ""),
    ("spool.reserve_bytes", -1),
    ("retention.originals_hours", 0),
    ("retention.results_days", -1.0),
    ("retention.on_pressure", "newest_first"),
    ("receive.dicom.ae_title", ""),
    ("receive.dicom.ae_title", "SEVENTEEN_LETTERS"),
    ("receive.dicom.ae_title", "A\\B"),
    ("receive.dicom.ae_title", "RÖNTGEN"),
    ("receive.dicom.ae_title", "A\nB"),
    ("receive.dicom.ae_title", " EDGE"),
    ("receive.dicom.host", ""),
    ("receive.dicom.port", -1),
    ("receive.dicom.port", 65536),
    ("receive.dicom.callers[0].ae_title", "   "),
    ("receive.dicom.callers[0].hosts", []),
    ("receive.dicom.callers[0].hosts[0]", "10.1.2.300"),
    ("receive.dicom.maximum_associations", 0),
    ("receive.dicom.maximum_associations_per_caller", 0),
    ("receive.dicom.maximum_pdu_bytes", 4095),
    ("receive.dicom.maximum_pdu_bytes", 16_777_217),
    ("receive.dicom.read_deadline_seconds", 0),
    ("receive.dicom.idle_seconds", 0),
    ("receive.dicom.minimum_bytes_per_second", -1),
    ("receive.dicom.maximum_object_bytes", 999_999),
    ("engines.path", ""),
    ("engines.backend", "openvino"),
    ("engines.threads", -1),
    ("engines.device", "gpu"),
    ("engines.cuda.ordinal", -1),
    ("engines.cuda.binding", "numba"),
    ("engines.cuda.wait", "yield"),
    ("engines.cuda.hang_seconds", 0),
    ("engines.cuda.cache", ""),
    ("engines.cuda.memory_limit_bytes", -1),
    ("pipelines[0].name", "CT Head"),
    ("pipelines[0].name", "../up"),
    ("pipelines[0].name", "a" * 65),
    ("pipelines[0].stages", []),
    ("pipelines[0].stages[0].name", "Triage"),
    ("pipelines[0].stages[1].name", "triage"),
    ("pipelines[0].stages[0].engine", "../../etc"),
    ("pipelines[0].stages[1].when", "triage.positive"),
    ("pipelines[0].stages[1].when", "triage.hemorrhage.maybe"),
    ("pipelines[0].stages[1].when", "volume.hemorrhage.positive"),
    ("pipelines[0].stages[0].within", "lesions"),
    ("pipelines[0].stages[1].within", "lesions"),
    ("pipelines[0].stages[0].margin", -0.1),
    ("pipelines[0].stages[0].margin", 11),
    ("pipelines[0].stages[0].threshold", 0),
    ("pipelines[0].stages[0].threshold", 1),
    ("pipelines[0].complete_after_seconds", 0),
    ("pipelines[0].deadline_seconds", 0),
    ("pipelines[0].maximum_seconds", 0),
    ("pipelines[0].match.minimum_slices", 0),
    ("pipelines[0].match.description", "("),
    ("pipelines[0].match.description", "x{99999999999}"),
    ("pipelines[0].results[0]", "pdf"),
    ("pipelines[0].results[1]", "sr"),
    ("pipelines[0].send_to[0]", "nobody"),
    ("pipelines[0].send_to[1].name", "pacs"),
    ("pipelines[0].send_to[1].results", ["pdf"]),
    ("destinations[0].name", "PACS"),
    ("destinations[1].name", "pacs"),
    ("destinations[0].type", "ftp"),
    ("destinations[0].ae_title", None),
    ("destinations[0].ae_title", "A\\B"),
    ("destinations[0].calling_ae_title", ""),
    ("destinations[0].host", None),
    ("destinations[0].host", ""),
    ("destinations[0].port", None),
    ("destinations[0].port", 0),
    ("destinations[0].url", "http://x"),
    ("destinations[1].url", None),
    ("destinations[1].url", "ftp://x"),
    ("destinations[1].host", "x"),
    ("destinations[2].path", None),
    ("destinations[2].calling_ae_title", "EDGE"),
    ("destinations[2].secret_file", "/key"),
    ("destinations[2].announce", "all"),
    ("destinations[2].ca_file", "/ca.pem"),
    ("destinations[1].identifiers", "accession"),
    ("destinations[3].url", None),
    ("destinations[3].url", "http://worklist.example.org/edge"),
    ("destinations[3].url", "https://user:password@worklist.example.org/edge"),
    ("destinations[3].secret_file", None),
    ("destinations[3].announce", "negative"),
    ("destinations[3].identifiers", "name"),
    ("pipelines[0].send_to[1]", {"name": "alert", "results": ["json"]}),
    ("destinations[0].timeout_seconds", 0),
    ("destinations[0].retry_seconds", 0),
    ("destinations[0].retry_seconds", 301),
    ("http.host", ""),
    ("http.port", 65536),
    ("http.host", "0.0.0.0"),
    ("http.host", "::"),
    ("http.host", "edge-1"),
    ("http.thumbnails", "sometimes"),
    ("http.tls", {"certificate": "", "key": "k"}),
    ("http.tls", {"certificate": "c"}),
    ("http.login", {"user": "a:b", "password_file": "p"}),
    ("http.login", {"user": "a", "password_file": ""}),
    ("http.metrics", {"host": "", "port": 1}),
    ("http.metrics", {"port": 65536}),
]


@pytest.mark.parametrize(("key", "value"), RULES)
def test_a_breach_is_told_with_its_key(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, changed(key, value))
    keys = [problem.key for problem in caught.value.problems]
    assert any(key.startswith(found) or found.startswith(key) for found in keys), keys
    assert all(found for found in keys)
    assert all(re.search(r"site\.yaml:\d+$", problem.place) for problem in caught.value.problems)


def test_the_line_of_a_rule_between_sections_is_that_of_the_reference(tmp_path: Path) -> None:
    text = WHOLE.replace("send_to: [pacs,", "send_to: [pax,")
    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, text)
    (problem,) = caught.value.problems
    line = next(number for number, content in enumerate(text.splitlines(), 1) if "pax" in content)
    assert problem.place.endswith(f":{line}")
    assert "there are: alert, disk, pacs, web" in problem.message


def test_what_is_sent_must_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="makes no 'overlay'"):
        read(tmp_path, changed("pipelines[0].results", ["sr"]))


def test_a_stage_name_with_a_dot_can_be_named_by_within(tmp_path: Path) -> None:
    document = changed("pipelines[0].stages[1].name", "lesions.v2")
    document["pipelines"][0]["stages"][2]["within"] = "lesions.v2"
    assert read(tmp_path, document).pipelines[0].stages[2].within == "lesions.v2"


def test_a_port_of_zero_lets_the_system_choose_where_we_listen(tmp_path: Path) -> None:
    assert read(tmp_path, changed("receive.dicom.port", 0)).receive.dicom.port == 0
    assert read(tmp_path, changed("http.port", 0)).http.port == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_the_page_on_this_computer_needs_no_login(tmp_path: Path, host: str) -> None:
    assert read(tmp_path, changed("http.host", host)).http.login is None


def test_the_page_goes_out_with_tls_and_a_login_and_not_with_one_of_them(tmp_path: Path) -> None:
    tls, login = {"certificate": "c", "key": "k"}, {"user": "u", "password_file": "p"}
    assert read(tmp_path, changed("http", {"host": "0.0.0.0", "tls": tls, "login": login})).http.host == "0.0.0.0"
    for part, missing in (({"tls": tls}, "http.login"), ({"login": login}, "http.tls")):
        with pytest.raises(ConfigurationInvalid, match=f"needs {missing};"):
            read(tmp_path, changed("http", {"host": "0.0.0.0", **part}))


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt_rtx"])
def test_tensorrt_on_the_processor_is_refused(tmp_path: Path, backend: str) -> None:
    document = changed("engines.backend", backend)
    document["engines"]["device"] = "cpu"
    with pytest.raises(ConfigurationInvalid, match=f"{backend} runs on a GPU; set cuda or auto"):
        read(tmp_path, document)
