"""The watchdog: hangs are told once, waits that end are not, and it sleeps while nobody waits."""

import threading

from edge_runtime.device.watchdog import Watchdog


def test_a_wait_that_is_too_long_is_told_once():
    told, seen = [], threading.Event()
    watchdog = Watchdog(0.02, lambda what: (told.append(what), seen.set()))
    with watchdog.watch("a kernel"):
        assert seen.wait(10)
        seen.clear()
        assert not seen.wait(0.1)
    watchdog.close()
    assert told == ["a kernel"]


def test_waits_that_end_are_not_told_and_the_thread_sleeps_and_wakes():
    told, seen = [], threading.Event()
    watchdog = Watchdog(0.04, lambda what: (told.append(what), seen.set()))
    for _ in range(200):
        with watchdog.watch("short"):
            pass
    for _ in range(100):
        if not watchdog._awake.is_set():
            break
        threading.Event().wait(0.02)
    assert told == [] and not watchdog._awake.is_set()
    with watchdog.watch("long"):
        assert seen.wait(10)
    watchdog.close()
    watchdog.close()
    assert told == ["long"]


def test_a_watchdog_that_nobody_needed_has_no_thread():
    before = threading.active_count()
    watchdog = Watchdog(1.0, lambda what: None)
    assert threading.active_count() == before
    watchdog.close()
