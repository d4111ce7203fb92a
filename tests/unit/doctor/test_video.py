"""Every source is opened and every live destination asked; what is not well says what to do."""

import socket

import pytest
from support.videos import write_video

from edge_runtime.config import Config, Destination, Pipeline, SendTo, Spool, Stage, Video
from edge_runtime.doctor import video as module
from edge_runtime.doctor.check import Outcome, Site
from edge_runtime.doctor.command import probes_for
from edge_runtime.doctor.video import Seen, Unseen, examine_video, live_destination_check, look_apart, source_check
from edge_runtime.errors import BackendUnavailable
from edge_runtime.metrics import CONNECT_OUTCOMES


def source(**keys):
    return Video(name="tower", pipeline="p", **keys)


def lines(path):
    return Destination(name="lines", type="jsonlines", path=str(path))


def test_a_source_shows_its_size_rate_and_codec(tmp_path):
    file = write_video(tmp_path / "a.mp4", 10)
    assert str(source_check(source(url=str(file)), look_apart(source(url=str(file))))) == (
        "ok    video tower                   320x240, 25 frames a second, h264"
    )


def test_a_program_that_is_missing_is_a_fail_with_its_name():
    check = source_check(source(command="x"), look_apart(source(command="/no/such/program secret")))
    assert check.outcome is Outcome.FAIL and "program /no/such/program not found" in check.found
    assert "secret" not in str(check)


def test_a_source_that_hangs_is_left(monkeypatch):
    found = look_apart(source(command="sleep 1000"), seconds=0.2)
    assert isinstance(found, Unseen) and found.outcome == "timeout"


def test_every_outcome_has_something_to_do():
    assert set(module._TODO) == set(CONNECT_OUTCOMES) - {"opened"}


def test_pictures_beyond_the_limit_fail_with_the_number_to_set():
    check = source_check(source(url="/a", maximum_pixels=300), Seen(20, 16, "h264", 0.0))
    assert check.outcome is Outcome.FAIL and "320" in check.todo


def test_a_live_folder_is_written_and_left_as_it_was(tmp_path):
    assert live_destination_check(lines(tmp_path / "new")).outcome is Outcome.OK
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert live_destination_check(lines(tmp_path / "file")).outcome is Outcome.FAIL


def test_a_folder_that_only_seems_writable_is_a_fail(tmp_path, monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", full)
    check = live_destination_check(lines(tmp_path))
    assert check.outcome is Outcome.FAIL and "No space left" in check.found


def test_a_broker_is_connected_to():
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = Destination(name="bus", type="mqtt", host="127.0.0.1", port=server.getsockname()[1], topic="t")
        assert live_destination_check(broker).outcome is Outcome.OK
    check = live_destination_check(broker)
    assert check.outcome is Outcome.FAIL and "Connection refused" in check.found


@pytest.fixture
def site(tmp_path):
    pipeline = Pipeline(name="p", stages=(Stage(name="a", engine="e"),), send_to=(SendTo(name="lines"),))
    destinations = (lines(tmp_path / "lines"), Destination(name="tape", type="recording", path=str(tmp_path / "tape")))
    video = (source(url=str(tmp_path / "none.mp4")),)
    config = Config(spool=Spool(path="s"), pipelines=(pipeline,), video=video, destinations=destinations)
    return Site(config, tmp_path / "site.yaml")


def test_all_sources_and_live_destinations_are_examined(site):
    found = {check.what: check for check in examine_video(site)}
    assert {what: check.outcome.value for what, check in found.items()} == {
        "video tower": "FAIL", "lines: folder": "ok", "tape: use": "warn",
    }  # fmt: skip
    assert "no file there" in found["video tower"].found
    assert "video" in [probe.name for probe in probes_for(site.config)]


def test_without_the_packages_it_says_how_to_install_them(site, monkeypatch):
    def missing(_):
        raise BackendUnavailable("make install EXTRAS=video")

    monkeypatch.setattr(module, "require_video_packages", missing)
    (check,) = examine_video(site)
    assert check.outcome is Outcome.FAIL and "EXTRAS=video" in check.found
