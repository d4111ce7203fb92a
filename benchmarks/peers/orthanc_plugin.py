"""A day's script inside Orthanc, run by its Python plugin: a stable series is read, analysed and answered.

Orthanc receives, stores and indexes; the analysis is that of the day's script. The option `DayAnalysis` of Orthanc's
configuration names the networks and where results go; PYTHONPATH says where packages are.
"""

from __future__ import annotations

import importlib
import io
import json
import queue
import threading
from typing import Any

import pydicom

from benchmarks.peers.day_analysis import Analysis

orthanc = importlib.import_module("orthanc")  # there is one only inside of Orthanc
stable: queue.Queue[str] = queue.Queue()


def changed(change: Any, _level: Any, resource: str) -> None:
    """Orthanc calls this for each change; what takes long is left to another thread."""
    if change == orthanc.ChangeType.STABLE_SERIES:
        stable.put(resource)


def read(resource: str) -> list[Any]:
    """The data sets of a series, from Orthanc's storage."""
    instances = json.loads(orthanc.RestApiGet(f"/series/{resource}"))["Instances"]
    return [pydicom.dcmread(io.BytesIO(orthanc.GetDicomForInstance(instance))) for instance in instances]


def work() -> None:
    """Answer one series after the other; one line a study says that it was delivered and how long its steps took."""
    settings = json.loads(orthanc.GetConfiguration())["DayAnalysis"]
    analysis = Analysis(settings["Engines"], settings["Destination"])
    while True:
        steps = analysis.answer(read(stable.get()))
        orthanc.LogWarning("delivered " + json.dumps(steps))


orthanc.RegisterOnChangeCallback(changed)
threading.Thread(target=work, daemon=True).start()
