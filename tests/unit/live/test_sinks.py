"""A destination's queue and thread: bounded, newest first to stay, and nobody waits for it."""

import logging
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dicom_peers import RecordingMetrics
from support.live_results import COLUMNS, ROWS, frame_result, polyp_mask
from support.pacs import wait_until

from edge_runtime.live.backlog import Backlog
from edge_runtime.live.segments import FolderUnusable
from edge_runtime.live.sinks import Entry, ThreadedSink


class Hanging:
    """A writer that takes one entry and holds it until it is let go."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.release = threading.Event()
        self.idled = self.closed = False

    def write(self, entry: Entry) -> str:
        self.entries.append(entry)
        self.release.wait(30)
        return "sent"

    def idle(self) -> None:
        self.idled = True

    def close(self) -> None:
        self.closed = True


class Failing(Hanging):
    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error: Exception | None = error

    def write(self, entry: Entry) -> str:
        self.entries.append(entry)
        if self.error is not None:
            raise self.error
        return "sent"


@pytest.fixture
def metrics() -> RecordingMetrics:
    return RecordingMetrics()


def counted(metrics: RecordingMetrics) -> dict[str, float]:
    return {key[2]: count for key, count in metrics.counts.items() if key[:2] == ("edge_live_results_total", "out")}


def test_a_hanging_destination_holds_up_nobody_and_keeps_the_newest(metrics):
    writer = Hanging()
    sink = ThreadedSink("out", writer, metrics, depth=4)
    sink.put(frame_result(sequence=1), None)
    wait_until(lambda: len(writer.entries) == 1)
    for sequence in range(2, 1001):
        sink.put(frame_result(sequence=sequence), None)
    assert counted(metrics) == {"lost": 995}
    writer.release.set()
    sink.close(10)
    assert [entry.result.sequence for entry in writer.entries] == [1, 997, 998, 999, 1000]
    assert counted(metrics) == {"lost": 995, "sent": 5}
    assert writer.closed


def test_closing_does_not_wait_for_a_writer_that_hangs_and_counts_what_it_leaves(metrics):
    writer = Hanging()
    sink = ThreadedSink("out", writer, metrics, depth=4)
    sink.put(frame_result(sequence=1), None)
    wait_until(lambda: len(writer.entries) == 1)
    sink.put(frame_result(sequence=2), None)
    sink.close(0.05)
    assert counted(metrics) == {"lost": 1}
    sink.put(frame_result(sequence=3), None)
    assert counted(metrics) == {"lost": 2}
    writer.release.set()
    sink.close(10)


@pytest.mark.parametrize("error", [OSError(28, "full"), RuntimeError("odd"), ValueError("bad")])
def test_whatever_a_writer_raises_the_next_result_is_tried(metrics, error):
    writer = Failing(error)
    sink = ThreadedSink("out", writer, metrics, depth=8)
    for sequence in range(3):
        sink.put(frame_result(sequence=sequence + 1), None)
    wait_until(lambda: len(writer.entries) == 3)
    wait_until(lambda: counted(metrics) == {"failed": 3})
    assert metrics.values["edge_destination_up", "out"] == 0.0
    writer.error = None
    sink.put(frame_result(sequence=4), None)
    wait_until(lambda: counted(metrics) == {"failed": 3, "sent": 1})
    sink.close(10)
    assert metrics.values["edge_destination_up", "out"] == 1.0


def test_each_trouble_is_told_once_in_words_until_results_reach_it_again(metrics, caplog, monkeypatch, tmp_path):
    monkeypatch.setattr(logging.getLogger("edge_runtime"), "propagate", True)
    writer = Failing(None)
    sink = ThreadedSink("out", writer, metrics, depth=8)
    full, folder = OSError(28, "x"), FolderUnusable("/data/x: the folder cannot be made: Permission denied")
    for number, error in enumerate([full, full, folder, full, None, full]):
        writer.error = error
        sink.put(frame_result(sequence=number + 1), None)
        wait_until(lambda number=number: sum(counted(metrics).values()) == number + 1)
    sink.close(10)
    told = [record.event for record in caplog.records if record.levelname == "ERROR"]
    assert told == [
        {"destination": "out", "why": words}
        for words in ("No space left on device", str(folder), "No space left on device")
    ]


def test_masks_do_not_wait_in_a_queue(metrics):
    writer = Failing(OSError())
    sink = ThreadedSink("out", writer, metrics, depth=8)
    sink.put(frame_result(masks=(polyp_mask(np.ones((ROWS, COLUMNS), np.bool_)),)), None)
    wait_until(lambda: len(writer.entries) == 1)
    sink.close(10)
    assert writer.entries[0].result.analysis.masks == ()


def test_a_writer_without_work_is_called_now_and_then(metrics):
    writer = Hanging()
    sink = ThreadedSink("out", writer, metrics, depth=8)
    wait_until(lambda: writer.idled)
    sink.close(10)


@given(st.integers(1, 5), st.lists(st.sampled_from("abc"), max_size=40))
def test_each_source_keeps_its_newest_in_order_whatever_the_others_do(depth, sources):
    backlog: Backlog[tuple[str, int]] = Backlog(depth)
    lost = sum(backlog.put(source, (source, number)) for number, source in enumerate(sources))
    taken = []
    while (item := backlog.take(0.0)) is not None:
        taken.append(item)
    assert taken == sorted(taken, key=lambda item: item[1])
    for source in "abc":
        put = [number for number, each in enumerate(sources) if each == source]
        assert [number for each, number in taken if each == source] == put[-depth:]
    assert lost == len(sources) - len(taken)


def test_who_waits_for_an_item_is_woken_by_it_and_by_the_end():
    backlog: Backlog[int] = Backlog(2)
    threading.Timer(0.05, backlog.put, ("a", 1)).start()
    started = time.monotonic()
    assert backlog.take(30.0) == 1
    threading.Timer(0.05, backlog.close).start()
    assert backlog.take(30.0) is None and backlog.done
    assert time.monotonic() - started < 25
