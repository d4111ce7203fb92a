"""The processes of live video share what the supervisor made."""

import json
import os
import socket
import subprocess
import sys

import numpy as np

from edge_runtime.config import Config, Pipeline, Spool, Stage, Video
from edge_runtime.frames.channels import VARIABLE, Channels, create_channels
from edge_runtime.frames.slot import SlotReader

CONFIG = Config(
    Spool("/s"), (Pipeline("p", (Stage("a", "a"),)),), video=(Video("tower", "p", url="x", maximum_pixels=300),)
)
CHILD = """
import socket, time
import numpy as np
from edge_runtime.frames.channels import inherited_channels
from edge_runtime.frames.slot import SlotWriter
channels = inherited_channels()
writer = SlotWriter(channels.sources["tower"].frames)
writer.publish(np.full((10, 10, 3), 9, np.uint8), time.monotonic(), time.time())
socket.socket(fileno=channels.results_in).send(b"a result")
"""


def test_a_child_writes_where_another_reads():
    channels = create_channels(CONFIG)
    environment = {**os.environ, VARIABLE: channels.to_text()}
    subprocess.run([sys.executable, "-c", CHILD], env=environment, pass_fds=channels.descriptors(), check=True)
    with SlotReader(channels.sources["tower"].frames).newest() as lease:
        assert (lease.pixels == 9).all() and lease.header.shape == (10, 10, 3)
    with socket.socket(fileno=os.dup(channels.results_out)) as results:
        assert results.recv(100) == b"a result"
    channels.close()


def test_a_grandchild_inherits_nothing():
    channels = create_channels(CONFIG)
    for descriptor in channels.descriptors():
        os.set_inheritable(descriptor, True)
    told = Channels.from_text(channels.to_text())
    assert told.descriptors() == channels.descriptors()
    assert not any(os.get_inheritable(descriptor) for descriptor in told.descriptors())
    channels.close()


def test_a_way_that_nobody_empties_takes_no_more_and_never_waits():
    channels = create_channels(CONFIG)
    with socket.socket(fileno=os.dup(channels.results_in)) as results:
        sent = 0
        try:
            while True:
                results.send(bytes(np.zeros(10_000, np.uint8)))
                sent += 1
        except BlockingIOError:
            assert sent > 10
    channels.close()


def test_what_a_child_is_told_is_plain():
    channels = create_channels(CONFIG)
    assert set(json.loads(channels.to_text())) == {"sources", "results"}
    channels.close()
