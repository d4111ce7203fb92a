"""A simulated device: sources, lanes and studies over the policy of `edge_runtime.schedule`, without threads or clocks.

The loop is that of the live half of infer: the newest frame of each source is offered when something changes, admitted
frames run their stages in lanes, each run waits for its turn. Results that come too late are counted as published late.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace

from edge_runtime.schedule.arbiter import RunClass, Wish, next_wish
from edge_runtime.schedule.decision import Admission, Choice, admit, decide, reserve_for
from edge_runtime.schedule.estimates import Estimates

FRAME = "(frame)"
RETRY_SECONDS = 0.003


@dataclass(frozen=True)
class SimulatedStage:
    """`seconds` of each variant as the median; `host_seconds` is spent beside the accelerator."""

    name: str
    seconds: tuple[float, ...]
    spread: float = 0.1
    optional: bool = False
    host_seconds: float = 0.0
    needed: float = 1.0  # probability


@dataclass
class SimulatedSource:
    name: str
    rate: float
    deadline: float
    stages: tuple[SimulatedStage, ...]
    captured_at: float | None = None
    waiting_since: float | None = None
    concluded: list[tuple[float, float, tuple[str, ...]]] = field(default_factory=list)  # at, age, stages that ran
    dropped: int = 0

    def in_time(self, since=0.0, until=float("inf")):
        return [each for each in self.concluded if since <= each[0] < until and each[1] <= self.deadline]

    def late(self):
        return [each for each in self.concluded if each[1] > self.deadline]


@dataclass
class SimulatedStudy:
    """Runs one after the other, each of `seconds`, all wished by `deadline_at`."""

    runs: int
    seconds: float
    deadline_at: float
    ended_at: float | None = None
    done: int = 0


class Simulation:
    """`run(seconds)`. `slowness(stage, now)` multiplies what a run takes."""

    def __init__(
        self,
        sources: list[SimulatedSource],
        capacity: int,
        studies: tuple[SimulatedStudy, ...] = (),
        slowness: Callable[[str, float], float] = lambda stage, now: 1.0,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.sources = sources
        self.capacity, self.lanes = capacity, capacity + 1
        self.slowness = slowness
        self.random = random.Random(seed)
        self.estimates = {source.name: Estimates(clock=lambda: self.now) for source in sources}
        self.decisions: dict[tuple[str, str], int] = {}
        self.started: list[RunClass] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._waiting: list[tuple[Wish, Generator]] = []
        self._running: list[Wish] = []
        self._live_since_promoted = 0
        self._ends_at: dict[int, float] = {}
        self._deadlines: dict[int, float] = {}
        self._retry = False
        for source in sources:
            for stage in source.stages:
                for variant, seconds in enumerate(stage.seconds):
                    self.estimates[source.name].expect(stage.name, variant, seconds)
            mandatory = sum(stage.seconds[0] for stage in source.stages if not stage.optional)
            self.estimates[source.name].expect(FRAME, 0, mandatory)
            self._at(self.random.random() / source.rate, lambda source=source: self._capture(source))
        for study in studies:
            self._step(self._study(study), None)

    def run(self, seconds: float) -> None:
        while self._events and self._events[0][0] <= seconds:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.now = seconds

    def _at(self, when, act):
        heapq.heappush(self._events, (when, next(self._numbers), act))

    def _capture(self, source):
        source.captured_at = self.now
        if source.waiting_since is None:
            source.waiting_since = self.now
        self._at(self.now + 1 / source.rate, lambda: self._capture(source))
        self._at(self.now, self._take)

    def _take(self):
        waits = False
        offered = [source for source in self.sources if source.captured_at is not None]
        for source in sorted(offered, key=lambda each: each.waiting_since + each.deadline):
            waits = self._offer(source) is Admission.WAIT or waits
        if waits and not self._retry:
            self._retry = True
            self._at(self.now + RETRY_SECONDS, self._again)

    def _again(self):
        self._retry = False
        self._take()

    def _offer(self, source):
        estimates = self.estimates[source.name]
        estimate = estimates.of(FRAME, 0)
        age = self.now - source.captured_at
        admission = admit(
            age_seconds=age,
            deadline_seconds=source.deadline,
            own_seconds=estimate.seconds,
            ahead_seconds=sum(max(0.0, end - self.now) for end in self._ends_at.values()),
            in_flight=len(self._ends_at),
            depth=self.lanes,
            probe=estimate.probe,
            urgent_seconds=min(self._deadlines.values(), default=math.inf) - self.now,
            capacity=self.capacity,
        )
        if admission is Admission.WAIT:
            return admission
        captured_at, source.captured_at = source.captured_at, None
        if admission is Admission.STALE:
            source.dropped += 1
            return admission
        source.waiting_since = None
        if estimate.probe and estimate.seconds > source.deadline - age:
            estimates.tried(FRAME, 0, 1)
        lane = next(self._numbers)
        self._ends_at[lane] = self.now + estimate.seconds
        self._deadlines[lane] = captured_at + source.deadline
        self._step(self._frame(source, captured_at, lane), None)
        return admission

    def _frame(self, source, captured_at, lane):
        began, ran, waited_all, estimates = self.now, [], 0.0, self.estimates[source.name]
        for index, stage in enumerate(source.stages):
            if self.random.random() >= stage.needed:
                continue
            options = [estimates.of(stage.name, variant) for variant in range(len(stage.seconds))]
            later = [each for each in source.stages[index + 1 :] if not each.optional and each.needed == 1.0]
            left = captured_at + source.deadline - self.now
            after = [[estimates.of(each.name, variant) for variant in range(len(each.seconds))] for each in later]
            reserve = reserve_for(after, left - options[0].seconds)
            decision = decide(
                options, left_seconds=left, reserve_seconds=reserve, optional=stage.optional, droppable=True
            )
            key = (decision.choice.value, decision.reason)
            self.decisions[key] = self.decisions.get(key, 0) + 1
            if decision.choice is Choice.DROP:
                source.dropped += 1
                break
            if decision.choice is Choice.SKIP:
                continue
            if decision.probe:
                estimates.tried(stage.name, decision.variant, 1)
            median = stage.seconds[decision.variant] * self.slowness(stage.name, self.now)
            seconds = median * self.random.lognormvariate(0.0, stage.spread)
            wish = Wish(f"{stage.name}/{decision.variant}", RunClass.LIVE, captured_at + source.deadline, seconds)
            waited, wish = yield "turn", wish
            waited_all += waited
            yield "run", wish, seconds
            yield "sleep", stage.host_seconds
            estimates.observe(stage.name, decision.variant, 1, seconds + stage.host_seconds)
            ran.append(stage.name if decision.variant == 0 else f"{stage.name} {decision.variant}")
        else:
            estimates.observe(FRAME, 0, 1, self.now - began - waited_all)
            source.concluded.append((self.now, self.now - captured_at, tuple(ran)))
        del self._ends_at[lane], self._deadlines[lane]
        self._grant()
        self._at(self.now, self._take)

    def _study(self, study):
        for _ in range(study.runs):
            run_class = RunClass.STUDY if self.now < study.deadline_at else RunClass.PROMOTED
            wish = Wish("study", run_class, study.deadline_at, study.seconds)
            _, wish = yield "turn", wish
            yield "run", wish, study.seconds
            study.done += 1
        study.ended_at = self.now

    def _step(self, process, value):
        try:
            action, *arguments = process.send(value)
        except StopIteration:
            return
        if action == "turn":
            self._waiting.append((self.now, arguments[0], process))
            self._grant()
        elif action == "run":
            wish, seconds = arguments
            self._at(self.now + seconds, lambda: self._ran(wish, process))
        else:
            self._at(self.now + arguments[0], lambda: self._step(process, None))

    def _ran(self, wish, process):
        self._running.remove(wish)
        self._step(process, None)
        self._grant()

    def _grant(self):
        self._waiting = [(at, self._promoted(wish), process) for at, wish, process in self._waiting]
        wishes = [wish for _, wish, _ in self._waiting]
        index = next_wish(wishes, self._running, self.capacity, self._live_since_promoted, self._between())
        if index is None:
            return
        at, wish, process = self._waiting.pop(index)
        self._running.append(wish)
        self.started.append(wish.run_class)
        if wish.run_class is RunClass.LIVE:
            self._live_since_promoted += 1
        elif wish.run_class is RunClass.PROMOTED:
            self._live_since_promoted = 0
        self._at(self.now, lambda: self._step(process, (self.now - at, wish)))
        self._grant()

    def _between(self):
        under_way = sum(deadline > self.now for deadline in self._deadlines.values())
        seen = [wish for _, wish, _ in self._waiting] + self._running
        return max(0, under_way - sum(wish.run_class is RunClass.LIVE for wish in seen))

    def _promoted(self, wish):
        late = wish.run_class is RunClass.STUDY and wish.deadline_at <= self.now
        return replace(wish, run_class=RunClass.PROMOTED) if late else wish
