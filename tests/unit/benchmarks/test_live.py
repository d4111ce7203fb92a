"""What the scenarios of live video make of what they have seen."""

import dataclasses
import time

import numpy as np
import pytest

from benchmarks.live import networks
from benchmarks.live.answer import all_ran, answers_of
from benchmarks.live.bare import FASTEST, FIFO, NEWEST, Done, Player, Request
from benchmarks.live.daemon import OUTCOMES, miss_share
from benchmarks.live.frames import COLUMNS, ROWS, disc_frames
from benchmarks.live.infer import Arrived, LiveInfer, Played
from benchmarks.live.resources import Resources, growth, resources_of
from benchmarks.live.site import LiveSite
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios import overload, soak, video
from benchmarks.scenarios.live_schema import Overload, Soak, Video
from edge_runtime.domain import Analysis, Answer, Code, EngineIdentity, Finding, StageOutcome, StageRecord
from edge_runtime.engines.card import read_card
from edge_runtime.frames.frame_result import FrameResult

ENGINE = EngineIdentity("e", "1", "0" * 64, "fp32", "none", "benchmarks only")


def result(number):
    analysis = Analysis((), (), ())
    return FrameResult("camera", "live", number + 1, 0, 1.0, 1.0, 1.02, 1.0, 4, 4, analysis)


def played(*milliseconds, seconds=1.0):
    return Played(tuple(Arrived(n, ms / 1000, result(n)) for n, ms in enumerate(milliseconds)), seconds, (0.0001,))


def done(*milliseconds):
    return Done(tuple(range(len(milliseconds))), tuple(ms / 1000 for ms in milliseconds), 1.0)


def figures(record):
    return {name: figure.samples[-1] for name, figure in record.figures.items()}


def test_the_frames_are_distinct_and_always_the_same():
    frames = disc_frames(3)
    assert frames.shape == (3, ROWS, COLUMNS, 3) and frames.dtype == np.uint8
    assert len({one.tobytes() for one in frames}) == 3
    assert np.array_equal(frames, disc_frames(3))


def test_the_networks_have_valid_cards_and_the_stated_shapes(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    for folder in networks.write_networks(tmp_path):
        card, _ = read_card(folder)
        session = onnxruntime.InferenceSession(str(folder / card.checkpoint.path), providers=["CPUExecutionProvider"])
        (output,) = session.run(None, {"image": np.full(card.input.shape, 0.9, np.float32)})
        assert output.shape == card.output.shape
        assert (output[:, -1] > 0).any(), f"{card.name} sees nothing in a bright picture"


def test_a_small_card_has_the_small_shapes(tmp_path):
    card = networks.small_card(networks.DETECTOR, (24, 32), 1, tmp_path / "small")
    assert (card.input.shape, card.output.shape) == ((1, 3, 24, 32), (1, 5, 1))


class Slow:
    """Analyses a frame in a given time, and remembers which it was shown."""

    def __init__(self, seconds):
        self.seconds, self.seen = seconds, []

    def __call__(self, image):
        time.sleep(self.seconds)
        self.seen.append(int(image.pixels[0, 0, 0, 0]))


def play(mode, rate, seconds, needed, first=0):
    run = Slow(needed)
    frames = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    return run, Player(run, frames).play(Request(mode, rate, seconds, first))


def test_fastest_takes_one_after_the_other_for_the_time_that_was_asked():
    run, told = play(FASTEST, 0.0, 0.1, 0.005)
    assert told.numbers == tuple(range(len(run.seen))) and told.seconds >= 0.1
    assert min(told.latencies) >= 0.005
    assert told.rate == pytest.approx(len(run.seen) / told.seconds)


def test_newest_leaves_out_what_was_overtaken_and_never_goes_back():
    run, told = play(NEWEST, 500.0, 0.2, 0.01, first=3)
    assert list(told.numbers) == sorted(set(told.numbers))
    assert told.numbers[-1] == 99
    assert len(told.numbers) < 60
    assert run.seen == [(3 + number) % 10 for number in told.numbers]


def test_fifo_analyses_every_frame_and_falls_behind():
    _, told = play(FIFO, 500.0, 0.1, 0.004)
    assert told.numbers == tuple(range(50))
    assert told.latencies[-1] > told.latencies[0] + 0.05


def test_added_is_of_the_frames_that_both_have():
    assert sorted(video.added_ms({0: 5.0, 1: 7.0, 3: 9.0}, {0: 4.0, 1: 4.5, 2: 4.0})) == [1.0, 2.5]


def test_the_canary_two_milliseconds_more_in_a_stage_show_as_added_latency():
    bare = done(*(20 + 0.01 * n for n in range(100)))
    record = Record({}, reduced=False)
    for _ in range(5):
        video.add_latencies(record, "25/s", played(*(20.3 + 0.01 * n for n in range(100))), bare, 25.0)
    slow = Record({}, reduced=False)
    for _ in range(5):
        video.add_latencies(slow, "25/s", played(*(22.3 + 0.01 * n for n in range(100))), bare, 25.0)
    quick, canary = figures(record), figures(slow)
    assert canary["25/s/added p50"] - quick["25/s/added p50"] == pytest.approx(2.0)
    assert canary["25/s/added p99"] - quick["25/s/added p99"] == pytest.approx(2.0)
    said = [one.document("complete", {})["figures"]["25/s/added : allowed"]["verdict"] for one in (record, slow)]
    assert said == ["met", "not met"]


def test_figures_of_a_round_and_their_targets():
    record = Record({}, reduced=False)
    video.add_latencies(record, "half load", played(21, 22, 23, 30), done(20, 20, 20, 20), 25.0)
    found = figures(record)
    assert found["half load/added p50"] == pytest.approx(2.5)
    assert found["half load/allowed p50"] == pytest.approx(0.05 * 20 + 1)
    assert found["half load/added : allowed"] == pytest.approx(1.25)
    assert found["half load/added p99"] == pytest.approx(10)
    assert (found["half load/edge p99"], found["half load/bare p99"]) == pytest.approx((30, 20))
    assert record.figures["half load/added p99"].target.bound == 4.0
    assert record.details["half load/frames that both analysed"] == [4]
    assert record.latencies["half load/edge"].rounds == [[21, 22, 23, 30]]
    assert record.latencies["half load/bare"].mode == "fixed-rate"


def test_two_sides_without_a_common_frame_are_no_comparison():
    with pytest.raises(BenchFailed, match="none is the same"):
        video.add_latencies(Record({}, reduced=False), "x", played(), done(20, 21), 25.0)


def test_25_frames_a_second_are_measured_only_where_there_is_room():
    record = Record({}, reduced=False)
    assert video.rates(Video(kind="video"), 50.0, record) == {"half load": 25.0, "25/s": 25.0}
    assert not record.problems
    assert video.rates(Video(kind="video"), 30.0, record) == {"half load": 15.0}
    assert "83% of the capacity" in record.problems[0]


def test_a_fixed_deadline_is_measured_only_where_a_frame_fits_into_it():
    record = Record({}, reduced=False)
    found = overload.choose_deadlines(Overload(kind="overload"), 0.02, record)
    assert found == {"2.5 x service": 0.05, "50 ms": 0.05}
    found = overload.choose_deadlines(Overload(kind="overload"), 0.04, record)
    assert found == {"2.5 x service": 0.1}
    assert "not measured" in record.problems[0]


def test_late_results_are_neither_in_time_nor_delivered():
    record = Record({}, reduced=False)
    overload.add_edge(record, "50 ms", played(30, 40, 50, 60), 0.05, possible=6.0)
    overload.add_peer(record, FIFO, done(30, 60, 90, 120), {"50 ms": 0.05}, possible=4.0)
    found = figures(record)
    assert (found["50 ms/edge, in time"], found["50 ms/edge, delivered"]) == (0.75, 0.5)
    assert (found["50 ms/fifo, in time"], found["50 ms/fifo, delivered"]) == (0.25, 0.25)
    assert found["fifo/latency of the last frame"] == pytest.approx(120)
    assert record.figures["50 ms/edge, in time"].target.bound == 0.99
    assert record.figures["50 ms/fifo, in time"].target is None
    assert (record.deadlines["50 ms/edge"].counted, record.deadlines["50 ms/edge"].missed) == (4, 1)


def test_a_system_that_delivers_nothing_has_delivered_nothing():
    record = Record({}, reduced=False)
    overload.add_edge(record, "50 ms", played(), 0.05, possible=6.0)
    assert figures(record) == {"50 ms/edge, in time": 0.0, "50 ms/edge, delivered": 0.0}, "and no latency of 0"
    assert record.problems == ["50 ms/edge: no frame had a result in a round, so there is no latency"]


def test_frames_without_a_result_weaken_what_is_said_of_the_others():
    for lost, problems in ((1, 0), (2, 1)):
        record, whole = Record({}, reduced=False), played(*[20.0] * 100)
        edge = dataclasses.replace(whole, results=whole.results[: 100 - lost], lags=(0.0,) * 100)
        video.add_latencies(record, "25/s", edge, done(*[20.0] * 100), 25.0)
        assert len(record.problems) == problems


def test_whatever_had_no_result_in_time_is_a_miss():
    counts = dict.fromkeys(OUTCOMES, 0) | {"in_time": 90, "superseded": 6, "late": 3, "dropped": 1}
    assert miss_share(counts) == pytest.approx(0.1)
    with pytest.raises(BenchFailed, match="no live frame"):
        miss_share(dict.fromkeys(OUTCOMES, 0))


def samples(megabytes, threads=lambda at: 7, descriptors=lambda at: 20, count=100):
    return [Resources(at, round(1e6 * megabytes(at)), threads(at), descriptors(at)) for at in range(count)]


def test_what_begins_large_and_stays_does_not_grow():
    found = growth(samples(lambda at: 300 if at > 10 else 100), parts=5, warm_share=0.2)
    assert set(found.megabytes) == {0.0} and len(found.megabytes) == 4
    assert found.slope == pytest.approx(0, abs=1e-9)
    assert set(found.threads) == set(found.descriptors) == {0.0}


def test_a_leak_shows_in_its_slope_and_in_every_part():
    found = growth(samples(lambda at: 100 + 0.5 * at, threads=lambda at: 7 + at // 25), parts=4, warm_share=0.2)
    assert found.slope == pytest.approx(0.5)
    assert found.megabytes == pytest.approx((10, 20, 30))
    assert found.threads[-1] >= 2


def test_too_short_a_run_says_nothing_of_growth():
    with pytest.raises(BenchFailed, match="too few"):
        growth(samples(lambda at: 100, count=8), parts=5, warm_share=0.2)


def soaked(**changes):
    record = Record({}, reduced=False)
    scenario = Soak(kind="soak", parts=9, most_megabytes=8.0)
    soak.add_growth(record, "infer", samples(**{"megabytes": lambda at: 100, **changes}), scenario, "hour", 3600.0)
    document = record.document("complete", {})
    verdicts = {name.rpartition(" ")[2]: figure["verdict"] for name, figure in document["figures"].items()}
    return verdicts, document["problems"]


def test_a_steady_process_meets_the_bounds_and_each_kind_of_leak_does_not():
    assert soaked() == ({"memory": "met", "threads": "met", "descriptors": "met"}, [])
    verdicts, (problem,) = soaked(megabytes=lambda at: 100 + at)
    assert verdicts["memory"] == "not met" and "MB more in the last part" in problem
    verdicts, (problem,) = soaked(threads=lambda at: 7 + at // 10)
    assert verdicts["threads"] == "not met" and "threads more" in problem
    verdicts, (problem,) = soaked(descriptors=lambda at: 20 + at // 10)
    assert verdicts["descriptors"] == "not met" and "descriptors more" in problem


def test_what_a_process_holds_is_what_it_shows():
    import os

    found = resources_of(os.getpid(), 3.0)
    assert found.at == 3.0 and found.rss_bytes > 1_000_000 and found.threads >= 1 and found.descriptors >= 3
    with pytest.raises(BenchFailed, match="has ended"):
        resources_of(2**22 + 1, 0.0)


def test_answers_are_outcomes_and_findings_and_tell_whether_all_stages_ran():
    ran = StageRecord("find", ENGINE, StageOutcome.RAN, "", 0.01)
    skipped = dataclasses.replace(ran, outcome=StageOutcome.SKIPPED)
    finding = Finding("find", "disc", Code("1", "L", "disc"), Answer.POSITIVE, probability=0.987)
    said = answers_of(Analysis((ran,), (finding,), ()))
    assert said == [["find", "ran"], ["find", "disc", "positive", "0.99"]]
    assert all_ran(said)
    assert not all_ran(answers_of(Analysis((ran, skipped), (finding,), ())))


def test_a_process_that_ends_is_told_with_its_last_words(tmp_path):
    site = LiveSite(tmp_path, (networks.CLASSIFIER, networks.DETECTOR, networks.SEGMENTER), "disc", tmp_path / "f.npy")
    config = site.config(tmp_path / "site.yaml", 1.0)
    with pytest.raises(BenchFailed, match="No module named"), LiveInfer(config, tmp_path / "log", "benchmarks.nosuch"):
        pass
