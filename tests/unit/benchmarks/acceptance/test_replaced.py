"""What of a site's configuration is replaced, and what of it is written into the acceptance folder."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from benchmarks.acceptance.replaced import Place, replacements, without_secrets
from edge_runtime.config import Config
from edge_runtime.yaml_schema import read_schema

SITE = """
spool: {path: /var/lib/edge-runtime/spool}
receive: {dicom: {callers: [{ae_title: CT01, hosts: [10.9.8.7]}]}}
http:
  host: 10.9.8.1
  tls: {certificate: /etc/c.pem, key: /etc/hush.pem}
  login: {user: hush, password_file: /etc/hush}
pipelines:
  - {name: ct.head, stages: [{name: a, engine: a}], send_to: [pacs, {name: web, results: [sr]}, hook, disk]}
  - {name: live, stages: [{name: a, engine: a}], deadline_seconds: 0.1, send_to: [lines, broker]}
video:
  - {name: tower, pipeline: live, url: "rtsp://hush:hush@10.9.8.2/one?token=hush&rate=25"}
  - {name: other, pipeline: live, command: "grab --password hush --host rtsp://hush@cam"}
destinations:
  - {name: pacs, type: dicom, ae_title: PACS, host: 10.9.8.3, port: 104, timeout_seconds: 7}
  - {name: web, type: dicomweb, url: "https://hush:hush@10.9.8.4/stow"}
  - {name: hook, type: webhook, url: "https://10.9.8.5/hook", secret_file: /etc/hush, ca_file: /etc/ca.pem}
  - {name: disk, type: folder, path: /mnt/10.9.8.6}
  - {name: lines, type: jsonlines, path: /mnt/lines, keep_bytes: 1000000}
  - {name: broker, type: mqtt, host: 10.9.8.7, port: 1883, topic: t, user: hush, password_file: /etc/hush}
"""
PLACES = {
    "pacs": Place(port=2001), "web": Place(port=2002), "hook": Place(port=2003, secret_file=Path("/work/key")),
    "disk": Place(folder=Path("/work/disk")), "lines": Place(folder=Path("/work/lines")),
}  # fmt: skip


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return path


def test_nothing_of_the_hospital_is_left_and_all_else_is_as_it_was(site):
    config = read_schema(Config, site)
    over = replacements(config, PLACES, {"tower": "/films/a.mp4"})
    found = read_schema(Config, site, over.overrides)
    kept = {one.name: one for one in found.destinations}
    assert "10.9.8." not in str([kept, found.http, found.receive])
    assert {(one.name, one.type) for one in found.destinations} == {
        ("pacs", "dicom"), ("web", "dicomweb"), ("hook", "webhook"), ("disk", "folder"), ("lines", "jsonlines")
    }  # fmt: skip
    assert (kept["pacs"].host, kept["pacs"].port, kept["pacs"].ae_title) == ("127.0.0.1", 2001, "PACS")
    assert kept["pacs"].timeout_seconds == 7.0 and kept["lines"].keep_bytes == 1_000_000
    assert kept["web"].url == "http://127.0.0.1:2002"
    assert (kept["hook"].secret_file, kept["hook"].ca_file) == ("/work/key", None)
    assert (kept["disk"].path, kept["lines"].path) == ("/work/disk", "/work/lines")
    assert found.receive.dicom.callers[0].ae_title == "CT01"
    assert found.http.login is None and found.http.tls is None
    ct, live = found.pipelines
    assert ct == config.pipelines[0]
    assert [send.name for send in live.send_to] == ["lines"]
    assert (live.stages, live.deadline_seconds) == (config.pipelines[1].stages, 0.1)
    tower, other = found.video
    assert (tower.url, tower.loop) == ("/films/a.mp4", True) and other == config.video[1]


def test_every_difference_is_said_without_an_address(site):
    over = replacements(read_schema(Config, site), PLACES, {"tower": "/films/a.mp4"})
    said = "\n".join(over.differences)
    for key in (
        "spool.path",
        "receive.dicom.callers",
        "http.tls",
        "http.login",
        "video.tower",
        *map("destinations.{}".format, PLACES),
    ):
        assert key in said
    assert over.left_out == ("broker",) and "destinations.broker (mqtt): left out" in said
    assert "10.9.8" not in said and "hush" not in said


def test_the_configuration_that_is_kept_holds_no_secret_and_can_be_read_again(site, tmp_path):
    kept = tmp_path / "kept.yaml"
    kept.write_text(yaml.safe_dump(without_secrets(read_schema(Config, site))))
    assert "hush" not in kept.read_text()
    again = read_schema(Config, kept)
    assert again.pipelines == read_schema(Config, site).pipelines
    assert again.video[0].url == "rtsp://(removed)"
    assert "10.9.8.4" not in kept.read_text()


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ({"url": "rtsp://me:hu@sh@cam/x"}, {"url": "rtsp://(removed)"}),
        ({"url": "rtsp://me:hu/sh@cam/x"}, {"url": "rtsp://(removed)"}),
        ({"url": "rtsp://cam/user=me_password=hush_channel=1"}, {"url": "rtsp://(removed)"}),
        ({"command": "grab -u me:hush --pwd 'hu sh' http://cam"}, {"command": "grab (removed)"}),
        ({"url": "/dev/video0"}, {"url": "/dev/video0"}),
        ({"url": "file:///films/a.mp4"}, {"url": "file:///films/a.mp4"}),
    ],
)
def test_of_a_source_only_what_can_hold_no_password_is_kept(site, source, kept):
    config = read_schema(Config, site)
    video = dataclasses.replace(config.video[0], **{"url": None, "command": None, **source})
    (found,) = without_secrets(dataclasses.replace(config, video=(video,)))["video"]
    assert {key: found[key] for key in ("url", "command") if found[key] is not None} == kept


def test_the_address_of_a_stand_in_is_kept(site):
    config = read_schema(Config, site)
    tested = read_schema(Config, site, replacements(config, PLACES, {}).overrides)
    kept = {one["name"]: one["url"] for one in without_secrets(tested)["destinations"]}
    assert (kept["web"], kept["hook"]) == ("http://127.0.0.1:2002", "http://127.0.0.1:2003/")
