"""What TRAFFIC.yaml may say."""

import pytest

from benchmarks.acceptance.traffic import SeriesTraffic, read_traffic
from benchmarks.load.arrivals import Mode
from edge_runtime.config import Config, Match, Pipeline, Spool, Stage, Video
from edge_runtime.errors import ConfigurationError

STAGES = (Stage("a", "a"),)
CONFIG = Config(
    Spool("/nonexistent"),
    (Pipeline("ct", STAGES, Match()), Pipeline("live", STAGES)),
    video=(Video("tower", "live", "x"),),
)


def read(tmp_path, text):
    path = tmp_path / "traffic.yaml"
    path.write_text(text)
    return read_traffic(path, CONFIG)


def test_a_shape_names_series_rates_and_files_for_cameras(tmp_path):
    film = tmp_path / "film.mp4"
    film.touch()
    text = f"series: [{{pipeline: ct, series: ct-phantom, per_hour: 30}}]\nvideos: {{tower: {film}}}\n"
    traffic = read(tmp_path, text)
    assert traffic.of("ct") == SeriesTraffic("ct", "ct-phantom", 30.0, "poisson", 1)
    assert traffic.of("live") is None and traffic.videos == {"tower": str(film)}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("speed: 3\n", "speed"),
        ("series: [{pipeline: ct, series: x, per_hour: 1, burst: 2}]\n", "burst"),
        ("series: [{pipeline: ct, series: x, per_hour: 0}]\n", "per_hour"),
        ("series: [{pipeline: ct, series: x, per_hour: 1, associations: 0}]\n", "associations"),
        ("series: [{pipeline: ct, series: x, per_hour: 1, arrival: now}]\n", "arrival"),
        ("series: [{pipeline: cr, series: x, per_hour: 1}]\n", "there are: ct"),
        ("series: [{pipeline: live, series: x, per_hour: 1}]\n", "there are: ct"),
        ("series: [{pipeline: ct, series: ct-fantom, per_hour: 1}]\n", "did you mean ct-phantom"),
        ("series: [{pipeline: ct, series: /nonexistent, per_hour: 1}]\n", "no such folder; shipped are ct-phantom"),
        ("series: [{pipeline: ct, series: /, per_hour: 1}]\n", "holds no .dcm file, but .* folders: name one"),
        ("videos: {camera: x.mp4}\n", "there are: tower"),
        ("videos: {tower: /nonexistent/x.mp4}\n", "no file"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, text, named):
    with pytest.raises(ConfigurationError, match=named):
        read(tmp_path, text)


def test_moments_are_within_the_time_and_of_the_rate():
    even = SeriesTraffic("ct", "x", 1800, "even")
    assert list(even.moments(7.0)) == [0.0, 2.0, 4.0, 6.0] and even.mode is Mode.FIXED_RATE
    random = SeriesTraffic("ct", "x", 3600, "poisson")
    moments = list(random.moments(2000.0))
    assert moments == list(random.moments(2000.0)), "the same file gives the same moments"
    assert moments == sorted(moments) and moments[-1] < 2000 and random.mode is Mode.SERVER
    assert len(moments) == pytest.approx(2000, rel=0.1)
