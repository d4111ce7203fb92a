"""The load of a run: its arithmetic, the process tree, and the thread that samples."""

import itertools
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.provenance.load import MOST_POINTS, LoadSampler, Moment, Shares, processor_seconds, shares, summary
from benchmarks.provenance.programs import TICKS_A_SECOND, Programs

CORES = 4
STEP = st.tuples(st.floats(0.6, 30), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))


def moments(steps):
    """From lengths and shares: of the cores' time busy, of that own, and stolen of the rest."""
    found = [Moment(100.0, 50.0, 5.0, 20.0, 0.5, {})]
    for seconds, busy, own, stolen in steps:
        last, whole = found[-1], seconds * CORES
        at = (last.at + seconds, last.busy + busy * whole, last.stolen + stolen * (1 - busy) * whole)
        found.append(Moment(*at, last.own + own * busy * whole, 1.0, {"cpu": 100 * busy}))
    return found


def test_shares_are_those_of_all_cores_time():
    found = shares(Moment(0, 10, 1, 4, 0, {}), Moment(10, 30, 3, 14, 0, {}), CORES)
    assert found == Shares(busy=0.5, others=0.25, stolen=0.05)


@given(st.lists(STEP, min_size=1, max_size=150))
def test_shares_lie_between_0_and_1_and_others_take_no_more_than_all(steps):
    run = moments(steps)
    document = summary(run, CORES)
    for name in ("busy_share", "others_share", "steal_share"):
        told = document[name]
        assert 0 <= told["median"] <= told["max"] <= 1 and told["whole_run"] <= told["max"] + 1e-4
        assert told.get("worst_minute", 0) <= told["max"] + 1e-4
        assert ("worst_minute" in told) == (run[0].at + 60 <= run[-1].at)
    assert document["others_share"]["whole_run"] <= document["busy_share"]["whole_run"]


@given(st.lists(STEP, min_size=1, max_size=150))
def test_the_time_line_is_short_and_covers_the_run(steps):
    line = summary(moments(steps), CORES)["time_line"]
    assert len({len(column) for column in line.values()}) == 1
    assert 1 <= len(line["until_seconds"]) <= MOST_POINTS and len(line["until_seconds"]) == min(len(steps), MOST_POINTS)
    assert line["until_seconds"][-1] == pytest.approx(sum(step[0] for step in steps), abs=0.06)
    assert all(a <= b for a, b in itertools.pairwise(line["until_seconds"]))


def test_a_long_run_has_no_longer_a_time_line():
    assert len(summary(moments([(1.0, 0.5, 1.0, 0.0)] * 500), CORES)["time_line"]["until_seconds"]) == MOST_POINTS


def test_the_worst_minute_is_found_wherever_it_begins():
    quiet, loud = (1.0, 0.2, 1.0, 0.0), (1.0, 1.0, 0.0, 0.5)
    found = summary(moments([quiet] * 95 + [loud] * 60 + [quiet] * 200), CORES)["others_share"]
    assert found["worst_minute"] == 1.0 and found["whole_run"] == pytest.approx(60 / 355, abs=1e-3)
    assert found["median"] == 0.0


def test_a_run_shorter_than_a_minute_has_no_worst_minute():
    assert "worst_minute" not in summary(moments([(1.0, 1.0, 0.0, 0.0)] * 59), CORES)["others_share"]


def test_a_last_step_of_a_few_ticks_is_no_maximum():
    loud = moments([(1.0, 0.5, 1.0, 0.0), (0.01, 1.0, 0.0, 0.0)])
    assert summary(loud, CORES)["others_share"]["max"] == 0.0
    assert summary(loud[1:], CORES)["others_share"]["max"] == 1.0, "it is all there is"


def test_pressure_is_told_where_the_kernel_has_it():
    document = summary(moments([(1.0, 0.25, 1.0, 0.0)] * 3), CORES)
    assert document["pressure_cpu_percent"] == {"median": 25.0, "max": 25.0}
    assert "pressure_io_percent" not in document


def test_time_is_that_of_the_cores_that_count():
    stat = (
        "cpu  1 2 3\ncpu0 100 10 20 1000 500 3 7 50 9 9\ncpu1 7 7 7 7 7 7 7 7 0 0\ncpu10 9 9 9 9 9 9 9 9 0 0\nintr 5\n"
    )
    assert processor_seconds(stat, {"cpu0"}) == (140 / TICKS_A_SECOND, 50 / TICKS_A_SECOND)
    assert processor_seconds(stat, {"cpu0", "cpu1"}) == (175 / TICKS_A_SECOND, 57 / TICKS_A_SECOND)


class Proc:
    """A made-up /proc."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "version").write_text("not a process")

    def put(self, pid, parent, ticks, waited_for=0, started=0):
        (self.folder / str(pid)).mkdir(exist_ok=True)
        fields = ["S", parent, *[0] * 9, ticks, 0, waited_for, 0, 0, 0, 0, 0, started or pid, 0]
        (self.folder / str(pid) / "stat").write_text(f"{pid} (a ) b) {' '.join(map(str, fields))}")

    def end(self, pid):
        (self.folder / str(pid) / "stat").unlink()
        (self.folder / str(pid)).rmdir()


@pytest.fixture
def proc(tmp_path):
    made = Proc(tmp_path)
    made.put(1, 0, 10_000)
    made.put(50, 1, 100)
    made.put(60, 50, 10)
    made.put(55, 60, 1)
    made.put(70, 1, 5_000)
    return made


def ticks(programs):
    return round(programs.seconds() * TICKS_A_SECOND)


def test_own_time_is_that_of_the_tree_whatever_the_order_of_its_numbers(proc):
    assert ticks(Programs(50, proc.folder)) == 111


def test_a_child_that_was_waited_for_counts_once(proc):
    programs = Programs(50, proc.folder)
    assert ticks(programs) == 111
    proc.end(55)
    proc.put(60, 50, 10, waited_for=4)
    assert ticks(programs) == 114


def test_a_daemon_whose_parent_has_ended_stays_ours_to_its_end(proc):
    programs = Programs(50, proc.folder)
    assert ticks(programs) == 111
    proc.end(60)
    proc.put(50, 1, 100, waited_for=10)
    proc.put(55, 1, 30)
    proc.put(56, 55, 5)
    assert ticks(programs) == 145
    proc.end(55)
    proc.end(56)
    assert ticks(programs) == 140, "56 was in the tree of 55, which can have waited for it"
    assert ticks(programs) == 140


def test_a_foreign_program_stays_foreign_and_a_number_used_again_is_looked_at_again(proc):
    programs = Programs(50, proc.folder)
    assert ticks(programs) == 111
    proc.put(70, 1, 9_000)
    assert ticks(programs) == 111
    proc.end(70)
    assert ticks(programs) == 111
    proc.put(70, 60, 6)
    assert ticks(programs) == 117
    proc.put(60, 1, 7_000, started=999)
    assert ticks(programs) < 7_000, "another process has the number now"


BURN = "import time\nt = time.process_time()\nwhile time.process_time() - t < 0.4: pass\n"


def test_a_process_in_a_session_of_its_own_is_ours():
    programs = Programs(os.getpid())
    before = programs.seconds()
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}], start_new_session=True)"
    with subprocess.Popen([sys.executable, "-c", nested], start_new_session=True):
        assert programs.seconds() >= before
    assert programs.seconds() - before >= 0.35


def test_the_sampler_counts_what_happens_until_it_is_stopped_once():
    sampler = LoadSampler(every_seconds=0.05)
    deadline = time.monotonic() + 10
    while len(sampler.moments) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sampler.stop() is None and sampler.stop() is None
    found = sampler.moments
    assert len(found) >= 4 and all(a.at < b.at and a.busy <= b.busy for a, b in itertools.pairwise(found))
    assert 0 < sampler.cpu_seconds < found[-1].at - found[0].at
    assert not sampler._thread.is_alive()


def test_a_sampler_that_can_read_no_more_says_why(monkeypatch):
    sampler = LoadSampler(every_seconds=0.01)
    monkeypatch.setattr("os.getloadavg", lambda: (_ for _ in ()).throw(OSError("gone")))
    sampler._thread.join(10)
    assert sampler.stop() == "OSError: gone" and sampler.moments
