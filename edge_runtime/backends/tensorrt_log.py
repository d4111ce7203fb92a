"""What TensorRT says, in our log: its messages (ILogger) and errors (IErrorRecorder).

`trt` is the library's module. Its callbacks come from any thread, and nothing may be raised in them.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

log = logging.getLogger("edge_runtime.backends.tensorrt")

_KEPT = 8
_ALL = 64


class Words:
    """The library's errors since they were last taken, each once, in their order."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._errors: dict[str, str] = {}  # the error's code by its text
        self._logged: set[tuple[int, str]] = set()
        self._overflowed = False
        self._gate = threading.Lock()

    def message(self, level: int, text: str) -> None:
        """Log a message, once for each text while there are few."""
        text = " ".join(text.split())
        if level >= logging.ERROR:
            self.error("", text)
        with self._gate:
            if (level, text) in self._logged:
                return
            if len(self._logged) < _ALL:
                self._logged.add((level, text))
        log.log(level, "the library says", extra={"event": {"library": self._library, "message": text}})

    def error(self, code: str, text: str) -> None:
        """Keep an error until it is taken."""
        text = " ".join(text.split())
        with self._gate:
            if text in self._errors or len(self._errors) < _KEPT:
                self._errors[text] = code or self._errors.get(text, "")
            else:
                self._overflowed = True

    @property
    def errors(self) -> tuple[tuple[str, str], ...]:
        """Code and text of each."""
        with self._gate:
            return tuple((code, text) for text, code in self._errors.items())

    @property
    def overflowed(self) -> bool:
        """Whether there were more than are kept."""
        return self._overflowed

    def clear(self) -> None:
        """Forget them."""
        with self._gate:
            self._errors.clear()
            self._overflowed = False

    def take(self) -> str:
        """All of them as one text; they are forgotten."""
        found = self.errors
        self.clear()
        return "; ".join(text for _, text in found) or "it gave no reason"


def make_logger(trt: Any, words: Words) -> Any:
    """A logger (ILogger) that writes into our log."""
    error, warning, info = int(trt.ILogger.ERROR), int(trt.ILogger.WARNING), int(trt.ILogger.INFO)
    levels = {warning: logging.WARNING, info: logging.DEBUG}

    def say(_self: Any, severity: Any, message: str) -> None:
        number = int(severity)
        words.message(logging.ERROR if number <= error else levels.get(number, logging.DEBUG), message)

    return type("Logger", (trt.ILogger,), {"log": say})()


def make_recorder(trt: Any, words: Words) -> Any:
    """An error recorder (IErrorRecorder) that stays with the engine and all contexts made of it."""

    def report_error(_self: Any, code: Any, description: str) -> bool:
        name = str(getattr(code, "name", code))
        words.error(name, description)
        log.error("the library reports an error", extra={"event": {"code": name, "message": description}})
        return False

    def count(_self: Any) -> int:
        return len(words.errors)

    def code_of(_self: Any, index: int) -> Any:
        return getattr(trt.ErrorCodeTRT, words.errors[index][0], trt.ErrorCodeTRT.UNSPECIFIED_ERROR)

    methods = {
        "report_error": report_error,
        "num_errors": count,
        "get_num_errors": count,  # what the bindings call, whatever their documentation says
        "get_error_code": code_of,
        "get_error_desc": lambda _self, index: words.errors[index][1],
        "has_overflowed": lambda _self: words.overflowed,
        "clear": lambda _self: words.clear(),
    }
    return type("Recorder", (trt.IErrorRecorder,), methods)()
