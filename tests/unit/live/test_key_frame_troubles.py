"""What goes wrong with every key frame is counted each time and told once."""

import time

from support.key_frames import SOURCE, CountingMetrics, frame_result, picture, video_config

from edge_runtime import examination
from edge_runtime.errors import SpoolError
from edge_runtime.live import key_frames
from edge_runtime.patient_and_study import attributes_from
from edge_runtime.spool.spool import open_spool, prepare_spool


def test_a_full_spool_is_told_once_and_not_with_every_key_frame(tmp_path, monkeypatch):
    def full(*_):
        tried.append(1)
        raise SpoolError("the disk is full")

    tried, told = [], []
    monkeypatch.setattr(key_frames, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(key_frames.KeyFrames, "_store", full)
    monkeypatch.setattr(key_frames.log, "exception", lambda message, **_: told.append(message))
    config = video_config(tmp_path)
    prepare_spool(config)
    spool = open_spool(config)
    values = {"PatientID": "P-77", "StudyInstanceUID": "2.25.77"}
    examination.begin(spool.layout, SOURCE, attributes_from(values), 4)
    it = key_frames.KeyFrames(config, spool, CountingMetrics(), lambda _role: None)
    for sequence in range(1, 6):
        it.offer(frame_result(sequence), picture(sequence))
        ends_at = time.monotonic() + 20
        while len(tried) < sequence and time.monotonic() < ends_at:
            time.sleep(0.005)
    it.close()
    assert len(tried) == 5 and told == ["key frame not stored"]
