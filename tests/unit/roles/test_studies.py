"""Studies in a process of their own give way to live frames until one of them is past its deadline."""

import os
import subprocess
import sys
import textwrap

ROOT_ONLY = os.geteuid() == 0
SCRIPT = """
import os, threading, time
from types import SimpleNamespace
from edge_runtime.roles import studies
from edge_runtime.telemetry.metrics import NullMetrics

jobs = []
counted = []

class Metrics(NullMetrics):
    def count(self, name, amount=1.0, **labels): counted.append((name, labels))
    def set(self, name, value, **labels): counted.append((name, value))

spool = SimpleNamespace(jobs=SimpleNamespace(in_state=lambda *states: jobs))
hold = threading.Event()
threading.Thread(target=hold.wait, daemon=True).start()
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)

def look():
    priority._looked_at = 0.0
    priority.look()

def niceness():
    tasks = [int(t) for t in os.listdir("/proc/self/task")] + [child]
    return {os.getpriority(os.PRIO_PROCESS, task) for task in tasks}

priority = studies.Priority(spool, Metrics())
priority.lower()
assert niceness() == {studies.NICENESS}, niceness()
jobs.append(SimpleNamespace(pipeline="ct", deadline_at=time.time() + 100))
look()
assert niceness() == {studies.NICENESS}, niceness()
jobs.append(SimpleNamespace(pipeline="ct", deadline_at=time.time() - 1))
DENY
look()
look()
print(sorted(niceness()), counted[-1])
jobs.clear()
look()
print(sorted(niceness()))
os.kill(child, 9)
"""


def run(deny=""):
    script = textwrap.dedent(SCRIPT).replace("DENY", deny)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_all_threads_and_children_are_raised_while_a_study_is_late_and_lowered_after_it():
    deny = "" if ROOT_ONLY else "os.setpriority = lambda *_: None"
    said, _ = run(deny)
    if ROOT_ONLY:
        assert said[0].startswith("[0]") and said[1] == "[15]"
    assert "edge_schedule_promotions_total" in said[0]


def test_where_the_priority_may_not_be_raised_it_stays_and_that_is_logged_once():
    deny = "\ndef refuse(*_):\n    raise PermissionError\nos.setpriority = refuse\n"
    said, log = run(deny)
    assert said[0].startswith("[15]") and log.count("may not raise") == 1
