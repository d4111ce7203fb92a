"""Silent, frozen and lagging are told apart."""

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.capture.watch import CATCH_UP_SECONDS, NO_PICTURE_SECONDS, Limits, Watch
from edge_runtime.metrics import FRAME_OUTCOMES, SOURCE_STATES

LIMITS = Limits(silent_after_seconds=2.0, frozen_after_seconds=2.0, maximum_lag_seconds=1.0)


def opened(now=0.0):
    watch = Watch(LIMITS)
    watch.connecting()
    watch.opened(now)
    return watch


def play(watch, images, start=0.0, step=0.1, lag=0.0, stamp=None):
    """The verdict of each."""
    return [
        watch.frame(start + i * step, image, stamp if stamp is not None else start + i * step, lag)
        for i, image in enumerate(images)
    ]


def test_frames_that_change_are_live():
    watch = opened()
    assert watch.state(0.0) == "connecting"
    assert set(play(watch, range(50))) == {"captured"}
    assert watch.state(5.0) == "live"


def test_nothing_for_a_while_is_silent():
    watch = opened()
    play(watch, range(10))
    assert watch.state(2.8) == "live" and watch.state(3.0) == "silent"
    assert opened().state(2.1) == "silent", "also from the first"


def test_the_same_picture_for_a_while_is_frozen_until_another_comes():
    watch = opened()
    verdicts = play(watch, [7] * 40)
    assert verdicts == ["captured"] * 21 + ["frozen"] * 19
    assert watch.state(3.9) == "frozen"
    assert play(watch, [8], start=4.0) == ["captured"]


def test_pictures_that_go_in_a_circle_are_frozen():
    assert play(opened(), list(range(10)) * 5)[-10:] == ["frozen"] * 10, "an encoder repeats a frozen picture so"


def test_a_camera_that_comes_back_with_the_same_picture_is_frozen_at_once():
    watch = opened()
    play(watch, [7] * 30)
    watch.connecting()
    assert watch.state(3.0) == "connecting"
    watch.opened(3.5)
    assert play(watch, [7] * 3, start=3.6) == ["frozen"] * 3


def test_a_file_that_begins_anew_is_not_frozen():
    watch = opened()
    play(watch, range(15))
    watch.forget_pictures()
    assert set(play(watch, range(15), start=1.5)) == {"captured"}


def test_a_clock_that_stands_is_frozen_though_the_pictures_change():
    assert play(opened(), range(40), stamp=1.0)[-1] == "frozen"


def test_a_source_that_does_not_catch_up_is_connected_anew():
    watch = opened()
    assert set(play(watch, range(50), lag=1.5)) == {"lagging"}
    assert watch.state(4.9) == "lagging" and watch.hopeless(CATCH_UP_SECONDS) is None
    assert watch.hopeless(CATCH_UP_SECONDS + 0.1) is not None
    assert play(watch, [99], start=5.0) == ["captured"] and watch.hopeless(99.0) != watch.hopeless(5.1)
    assert watch.hopeless(5.1) is None


def test_a_source_that_sends_nothing_that_can_be_decoded_is_connected_anew():
    watch = opened()
    play(watch, range(10))
    assert watch.hopeless(0.9 + NO_PICTURE_SECONDS) is None
    assert watch.hopeless(1.0 + NO_PICTURE_SECONDS) is not None


events = st.one_of(
    st.sampled_from(["connecting", "opened", "ended", "forget_pictures"]),
    st.tuples(st.one_of(st.none(), st.integers(0, 5)), st.one_of(st.none(), st.floats(0, 9)), st.floats(-1, 3)),
)


@given(st.lists(st.tuples(events, st.floats(0, 2)), max_size=60))
def test_whatever_happens_state_and_outcome_are_known_words_and_a_live_source_was_heard(history):
    watch, now, heard = Watch(LIMITS), 0.0, -1e9
    for event, step in history:
        now += step
        if event == "opened":
            watch.opened(now)
        elif isinstance(event, str):
            getattr(watch, event)()
        else:
            assert watch.frame(now, *event) in FRAME_OUTCOMES
            heard = now
        assert watch.state(now) in SOURCE_STATES
        if watch.state(now) == "live":
            assert now - heard <= LIMITS.silent_after_seconds
