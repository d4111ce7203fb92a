"""A clock that only sleeping and working move, and systems that work by it."""

from benchmarks.load.generator import Query


class Clock:
    """Seconds; a sleep takes `late` longer than it is asked to, and one of no length a microsecond."""

    def __init__(self, late: float = 0.0) -> None:
        self.now, self.slept, self._late = 1000.0, [], late

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self._late if seconds else 1e-6


class Fifo:
    """One server with a queue; `seconds(number)` is the work of a query. `issue` returns at once."""

    def __init__(self, clock: Clock, seconds) -> None:
        self._clock, self._seconds, self._free_at = clock, seconds, 0.0

    def issue(self, query: Query) -> None:
        now = self._clock.now
        self._free_at = max(now, self._free_at) + self._seconds(query.number)
        self._clock.now = self._free_at  # at which the answer is stamped
        query.complete()
        self._clock.now = now


class Blocking:
    """The same work in the generator's own thread; `seen` takes the queries."""

    def __init__(self, clock: Clock, seconds, seen=None) -> None:
        self._clock, self._seconds = clock, seconds
        self._seen = [] if seen is None else seen

    def issue(self, query: Query) -> None:
        self._seen.append(query)
        self._clock.now += self._seconds(query.number)
        query.complete()
