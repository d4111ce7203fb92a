"""Python functions in a stream's order, by cuLaunchHostFunc. For tests and libraries that stand in for others.

A host function must not call the CUDA driver API (CUDA Driver API, cuLaunchHostFunc).
"""

from __future__ import annotations

import ctypes
import itertools
import logging
from collections.abc import Callable

from edge_runtime.device.calls import failure

log = logging.getLogger("edge_runtime.device")

_works: dict[int, tuple[Callable[[], None], bool]] = {}  # by token: the work, and whether it runs once
_tokens = itertools.count(1)


class Failure:
    """The first failure among the host functions of a stream, until it is reset."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def guard(self, work: Callable[[], None]) -> None:
        """Do the work, unless something before it failed; keep its failure."""
        if self.error is not None:
            return
        try:
            work()
        except Exception as error:
            self.error = error
            log.warning("work on a stream failed", extra={"event": {"error": type(error).__name__}}, exc_info=True)


def launch(stream: int, work: Callable[[], None], once: bool = True) -> int:
    """Append `work`, which must not raise, to the CUstream at that address; returns the token for `forget`."""
    token = next(_tokens)
    _works[token] = (work, once)
    if code := ctypes.CDLL("libcuda.so.1").cuLaunchHostFunc(ctypes.c_void_p(stream), _call, ctypes.c_void_p(token)):
        del _works[token]
        raise failure("cuLaunchHostFunc", code)
    return token


def forget(token: int) -> None:
    """Let go of work that runs more than once."""
    _works.pop(token, None)


def _run(token: int) -> None:
    work, once = _works[token]
    if once:
        del _works[token]
    work()


_call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_run)
