"""Logs: one line an event, values that cannot break it, and no message of a library."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import SpoolError
from edge_runtime.telemetry.logs import EventFormatter, Troubles, describe


def line(message: str = "instance stored", event: dict[str, object] | None = None, error: BaseException | None = None,
         for_journal: bool = False, level: int = logging.INFO) -> str:  # fmt: skip
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("edge_runtime.x", level, "file.py", 1, message, (), info)
    if event is not None:
        record.event = event
    return EventFormatter("receive", for_journal).format(record)


def test_an_event_is_time_level_role_phrase_and_values() -> None:
    found = line(event={"job": "00ab-1", "bytes": 525312, "seconds": 0.12345678, "late": False})
    stamp, rest = found.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert rest == "INFO receive: instance stored job=00ab-1 bytes=525312 seconds=0.123457 late=False"


def test_the_journal_gets_a_priority_and_no_time() -> None:
    assert line(for_journal=True, level=logging.ERROR) == "<3>ERROR receive: instance stored"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("two words", '"two words"'), ("", '""'), ('a"b', '"a\\"b"'), ("a=b", '"a=b"'), ("back\\slash", "back\\slash"),
     ("Grün", "Grün"), ("a\nb", '"a\\nb"'), ("\x1b[31m", '"\\u001b[31m"'), ("\udc80", '"\\udc80"'), (None, "None")],
)  # fmt: skip
def test_a_value_that_could_be_misread_is_quoted(value: object, shown: str) -> None:
    assert line(event={"caller": value}).endswith(f" caller={shown}")


@given(st.text(), st.text())
def test_no_value_and_no_phrase_starts_a_second_line_or_forges_a_field(message: str, value: str) -> None:
    found = line(message, {"caller": value, "end": "here"})
    assert "\n" not in found
    assert "\r" not in found
    shown = line("x", {"caller": value, "end": "here"}).split("x caller=", 1)[1].removesuffix(" end=here")
    assert shown.isprintable()
    if shown.startswith('"'):
        assert json.loads(shown) == value
    else:
        assert shown == value
        assert not set(shown) & set(' "=')


def test_an_error_of_ours_is_told_whole_and_one_of_a_library_by_type_and_place_only() -> None:
    try:
        int("Doe^Jane")
    except ValueError as error:
        told = line("job failed", {"job": "1"}, error)
        assert "Doe" not in told
        assert re.search(r'error="ValueError at test_logs\.py:\d+ test_an_error_of_ours', told)
    assert line("x", {}, SpoolError("spool /a is full; make room")).endswith(
        'error="SpoolError: spool /a is full; make room"'
    )


def test_an_operating_system_error_is_told_by_its_number_not_by_its_path() -> None:
    try:
        Path("/nowhere/Doe^Jane").read_bytes()
    except OSError as error:
        assert re.match(r"FileNotFoundError errno 2 at \S+:\d+ ", describe(error))
        assert "Doe" not in describe(error)


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert describe(RuntimeError("secret")) == "RuntimeError"


PROGRAM = """
import logging, threading, warnings
from edge_runtime.telemetry.logs import start_logging
start_logging("infer")
logging.getLogger("edge_runtime.part").debug("too fine")
logging.getLogger("edge_runtime.part").info("instance stored", extra={"event": {"caller": "CT01"}})
logging.getLogger("pydicom").error("patient Doe^Jane")
logging.getLogger().critical("patient Doe^Jane")
warnings.warn("patient Doe^Jane")
thread = threading.Thread(target=lambda: int("Doe^Jane"))
thread.start()
thread.join()
raise ValueError("Doe^Jane")
"""


def test_a_process_says_nothing_of_its_libraries_and_its_last_words_quote_no_value() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 3)
    assert lines[0].endswith("INFO infer: instance stored caller=CT01")
    assert 'CRITICAL infer: unexpected error error="ValueError at' in lines[1]
    assert 'CRITICAL infer: unexpected error error="ValueError at' in lines[2]
    assert "Doe" not in done.stderr


def test_a_trouble_of_every_frame_is_told_once_in_a_while_with_how_often_it_was_not_told() -> None:
    now = [1000.0]
    troubles = Troubles(10.0, lambda: now[0])
    told = []
    for frame in range(501):
        now[0] = 1000.0 + frame * 0.04
        told.append(troubles.untold("tower-1", OSError(28, "full")))
    assert {frame: count for frame, count in enumerate(told) if count is not None} == {0: 0, 250: 249, 500: 249}
    assert troubles.untold("tower-2", OSError(28, "full")) == 0, "another source is another trouble"
    assert troubles.untold("tower-1", ValueError()) == 0, "and another error"
