"""What is said of a source that cannot be opened: in words, once, and without what an operator must not see."""

import logging

import pytest
from support.dicom_peers import RecordingMetrics
from support.pacs import wait_until

from edge_runtime.capture.backoff import Backoff
from edge_runtime.capture.reader import Reader, start_program
from edge_runtime.capture.source import SourceFailed
from edge_runtime.config import Video


def test_a_program_that_is_not_there_or_cannot_be_run_is_named(tmp_path):
    with pytest.raises(SourceFailed, match="not_found: program /no/such/program not found") as caught:
        start_program("/no/such/program --password secret")
    assert "secret" not in str(caught.value)
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with pytest.raises(SourceFailed, match=r"refused: program .*/script cannot be run"):
        start_program(str(tmp_path / "script"))


def test_the_same_failure_is_logged_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("edge_runtime"), "propagate", True)
    video, metrics = Video(name="tower", pipeline="p", url=str(tmp_path / "none.mp4")), RecordingMetrics()
    reader = Reader(video, lambda *_: None, metrics, Backoff(first_seconds=0.001, longest_seconds=0.001))
    reader.start()
    wait_until(lambda: sum(metrics.counts.values()) >= 5)
    assert reader.stop(10)
    (record,) = caplog.records
    assert record.message == "source cannot be opened, tried again"
    assert record.event == {"source": "tower", "why": "not_found: no file there"}
