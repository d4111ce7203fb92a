"""Every rule of the configuration of live video: each breach is told with its key."""

import pytest
import yaml
from support.endoscopes import site_pipelines

from edge_runtime.config import Config
from edge_runtime.yaml_schema import ConfigurationInvalid, read_schema

LIVE = [
    {"name": "disk", "type": "folder", "path": "/out"},
    {"name": "lines", "type": "jsonlines", "path": "/lines"},
    {"name": "recording", "type": "recording", "path": "/video"},
    {"name": "broker", "type": "mqtt", "host": "h", "port": 1883, "topic": "edge/live"},
]


def site(**video):
    tower = {"name": "tower", "url": "rtsp://camera/1", "pipeline": "endoscopy", "deadline_seconds": 0.05, **video}
    return {"spool": {"path": "s"}, "pipelines": site_pipelines(), "video": [tower], "destinations": LIVE}


def read(tmp_path, document):
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(document))
    return read_schema(Config, path)


def test_a_source_needs_no_more_than_a_name_a_place_and_a_pipeline(tmp_path):
    config = read(tmp_path, site())
    (video,) = config.video
    assert config.live_deadline_seconds(video) == 0.05 and video.display_age_seconds == 0.5
    assert [d.name for d in config.live_destinations("endoscopy")] == ["lines", "recording"]
    assert [d.name for d in config.delivery_destinations] == ["disk"]


def test_without_a_deadline_of_its_own_a_source_has_its_pipelines(tmp_path):
    document = site(deadline_seconds=None)
    document["pipelines"][0]["deadline_seconds"] = 0.08
    config = read(tmp_path, document)
    assert config.live_deadline_seconds(config.video[0]) == 0.08


def test_a_pipeline_for_video_takes_series_only_if_it_says_which(tmp_path):
    document = site()
    assert [p.name for p in read(tmp_path, document).series_pipelines] == ["find-ball"]
    document["pipelines"][0]["match"] = {"modality": "ES"}
    assert [p.name for p in read(tmp_path, document).series_pipelines] == ["endoscopy", "find-ball"]
    document["video"] = []
    del document["pipelines"][0]["match"]
    document["pipelines"][0]["send_to"] = ["disk"]
    assert [p.name for p in read(tmp_path, document).series_pipelines] == ["endoscopy", "find-ball"]


def test_cheaper_variants_are_stages_of_the_same_name(tmp_path):
    document = site()
    document["pipelines"][0]["stages"][0]["cheaper"] = ["small", {"engine": "look", "precision": "int8"}]
    stage = read(tmp_path, document).pipelines[0].stages[0]
    assert [variant.asked for variant in stage.variants] == ["look", "small", "look int8"]
    assert {variant.name for variant in stage.variants} == {"look"}


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"url": None}, "video[0].url"),
        ({"command": "gst-launch-1.0 x"}, "video[0].url"),
        ({"url": ""}, "video[0].url"),
        ({"url": "rtsp://camera/\0"}, "video[0].url"),
        ({"url": None, "command": "  "}, "video[0].command"),
        ({"url": None, "command": "'' x"}, "video[0].command"),
        ({"url": None, "command": "play 'one"}, "video[0].command"),
        ({"url": None, "command": "play\0"}, "video[0].command"),
        ({"url": "rstp://camera/1"}, "video[0].url"),
        ({"url": "HTTP://camera/1"}, "video[0].url"),
        ({"name": "Tower 1"}, "video[0].name"),
        ({"pipeline": "none"}, "video[0].pipeline"),
        ({"deadline_seconds": 0}, "video[0].deadline_seconds"),
        ({"display_age_seconds": 0}, "video[0].display_age_seconds"),
        ({"frozen_after_seconds": -1}, "video[0].frozen_after_seconds"),
        ({"silent_after_seconds": 0}, "video[0].silent_after_seconds"),
        ({"maximum_lag_seconds": 0}, "video[0].maximum_lag_seconds"),
        ({"columns": 8}, "video[0].columns"),
        ({"maximum_pixels": 10}, "video[0].maximum_pixels"),
        ({"pace": "slow"}, "video[0].pace"),
        ({"key_frames": {"results": 0}}, "video[0].key_frames.results"),
        ({"key_frames": {"seconds_between": -1}}, "video[0].key_frames.seconds_between"),
        ({"key_frames": {"maximum": -1}}, "video[0].key_frames.maximum"),
        ({"key_frames": {"when": "polyps"}}, "video[0].key_frames.when"),
        ({"key_frames": {"when": "polyps.polyp.positive"}}, "video[0].key_frames.when"),
        ({"fps": 25}, "video[0].fps"),
    ],
)
def test_a_breach_in_a_source_is_told_with_its_key(tmp_path, keys, place):
    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, site(**keys))
    assert place in [problem.key for problem in caught.value.problems]


def test_an_unknown_scheme_is_told_with_the_known_ones_and_without_the_password(tmp_path):
    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, site(url="rstp://u:secret@camera/1"))
    (problem,) = caught.value.problems
    assert all(word in problem.message for word in ("rtsp://", "rtsps://", "file://", "plain path", "not rstp://"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "scheme", "file"),
    [
        ("RTSPS://camera/1", "rtsps", None),
        ("/data/a.mp4", "file", "/data/a.mp4"),
        ("FILE:///data/a.mp4", "file", "/data/a.mp4"),
        ("/data/rtsp://a.mp4", "file", "/data/rtsp://a.mp4"),
    ],
)
def test_a_url_names_a_file_or_a_server(tmp_path, url, scheme, file):
    (video,) = read(tmp_path, site(url=url)).video
    assert (video.scheme, video.file) == (scheme, file)


@pytest.mark.parametrize(
    ("number", "keys", "place"),
    [
        (1, {"path": None}, "destinations[1].path"),
        (1, {"topic": "t"}, "destinations[1].topic"),
        (1, {"keep_bytes": 0}, "destinations[1].keep_bytes"),
        (2, {"segment_seconds": 0}, "destinations[2].segment_seconds"),
        (3, {"topic": None}, "destinations[3].topic"),
        (3, {"topic": "a/#"}, "destinations[3].topic"),
        (3, {"user": "u"}, "destinations[3].password_file"),
        (3, {"segment_seconds": 5.0}, "destinations[3].segment_seconds"),
        (0, {"tls": True}, "destinations[0].tls"),
        (0, {"user": "u"}, "destinations[0].user"),
        (2, {"type": "jsonlines", "path": "/lines"}, "destinations"),
    ],
)
def test_a_breach_in_a_live_destination_is_told_with_its_key(tmp_path, number, keys, place):
    document = site()
    document["destinations"] = [{**d, **keys} if k == number else d for k, d in enumerate(LIVE)]
    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, document)
    assert place in [problem.key for problem in caught.value.problems]


def test_a_live_destination_of_a_pipeline_without_video_is_refused(tmp_path):
    document = site()
    document["pipelines"][1]["send_to"] = ["lines"]
    with pytest.raises(ConfigurationInvalid, match="no video uses this pipeline"):
        read(tmp_path, document)


def test_two_brokers_of_one_topic_are_refused_but_not_two_topics_of_one_broker(tmp_path):
    document = site()
    document["destinations"] = [*LIVE, {**LIVE[3], "name": "second", "host": "H"}]
    with pytest.raises(ConfigurationInvalid, match="publish over each other"):
        read(tmp_path, document)
    document["destinations"][-1]["topic"] = "edge/other"
    read(tmp_path, document)


def test_no_source_publishes_over_the_state_of_a_broker(tmp_path):
    document = site(name="state")
    read(tmp_path, document)
    document["pipelines"][0]["send_to"] = ["broker"]
    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, document)
    assert [problem.key for problem in caught.value.problems] == ["video[0].name"]


def test_two_sources_of_one_name_are_refused(tmp_path):
    document = site()
    document["video"] *= 2
    with pytest.raises(ConfigurationInvalid, match="stands twice"):
        read(tmp_path, document)


@pytest.mark.parametrize("keys", [{"studies": "elsewhere"}, {"concurrency": -1}])
def test_a_schedule_that_cannot_be_is_refused(tmp_path, keys):
    with pytest.raises(ConfigurationInvalid):
        read(tmp_path, {**site(), "schedule": keys})
