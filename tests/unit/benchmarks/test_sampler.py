"""What processes take, as /proc tells."""

import os
import subprocess
import sys
import time

import pytest

from benchmarks.record import BenchFailed
from benchmarks.sampler import Sample, Sampler, cpu_seconds


def test_groups_are_summed_and_there_is_a_sample_at_the_start_and_at_the_end():
    with Sampler({"self": [os.getpid()], "twice": [os.getpid(), os.getpid()], "none": []}) as sampler:
        pass
    assert len(sampler.samples) >= 2
    for sample in sampler.samples:
        assert sample.rss_bytes["self"] > 1_000_000 and sample.rss_bytes["none"] == 0
        assert sample.cpu_seconds["twice"] >= 2 * sample.cpu_seconds["self"]


def test_processor_time_is_what_a_process_has_used():
    before = cpu_seconds(os.getpid())
    used = time.process_time()
    while time.process_time() - used < 0.1:
        pass
    assert 0.05 < cpu_seconds(os.getpid()) - before <= time.process_time()


def test_a_process_that_ends_meanwhile_fails_the_measurement():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with pytest.raises(BenchFailed, match="has ended"), Sampler({"child": [child.pid]}):
        child.communicate(b"\n")


def test_the_sample_of_a_moment_is_the_first_that_is_not_before_it():
    sampler = Sampler({})
    sampler.samples = [Sample(float(at), {}, {}) for at in (1, 2, 3)]
    assert [sampler.at(moment).at for moment in (0, 1, 1.5, 3, 9)] == [1, 1, 2, 3, 3]
