"""In whose name a pipeline's engines run: the deadline by which their runs wait for the accelerator."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from edge_runtime.schedule.arbiter import Arbiter, RunClass, Wish


class Claim:
    """Of one image at a time. A study that is past its deadline is promoted from its next run on."""

    def __init__(
        self,
        arbiter: Arbiter,
        clock: Callable[[], float] = time.monotonic,
        on_promotion: Callable[[], None] | None = None,
    ) -> None:
        self.on_promotion = on_promotion
        self._arbiter = arbiter
        self._clock = clock
        self._deadline_at = math.inf
        self._run_class = RunClass.STUDY

    def begin(self, run_class: RunClass, deadline_at: float) -> None:
        """The runs that follow are for an image of this class and deadline (seconds of the clock)."""
        self._run_class, self._deadline_at = run_class, deadline_at

    def frame(self, deadline_at: float) -> AbstractContextManager[None]:
        """Around all the runs of a live frame: `begin`, and no study slips in between two of its runs."""
        self.begin(RunClass.LIVE, deadline_at)
        return self._arbiter.frame(deadline_at)

    def turn_of(self, engine: str, seconds: float) -> Callable[[], AbstractContextManager[float]]:
        """How one engine waits for its turn; `seconds` is what its runs take."""

        @contextmanager
        def turn() -> Iterator[float]:
            wish = Wish(engine, self._class_now(), self._deadline_at, seconds)
            with self._arbiter.turn(wish) as waited_seconds:
                yield waited_seconds

        return turn

    def _class_now(self) -> RunClass:
        if self._run_class is RunClass.STUDY and self._clock() > self._deadline_at:
            self._run_class = RunClass.PROMOTED
            if self.on_promotion is not None:
                self.on_promotion()
        return self._run_class
