"""Images are decoded before their job runs, within a bound that no queue moves."""

import dataclasses
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.assemble.header import SeriesHeader
from edge_runtime.errors import DecodeRefused
from edge_runtime.roles.ahead import Ahead
from edge_runtime.spool.receipt import Arrival, Receipt

HEADER = SeriesHeader(
    "1", "2", "3", "4", "5", "p", "CT", "HEAD", None, (), 1, 10, 10, True, False, None, accession_number=None
)
BYTES = 400  # of one image of 10 x 10 pixels


def receipt(name):
    return Receipt(
        name, Arrival("1.2", f"2.25.{abs(hash(name))}", "1.2.1", "CT01", "EDGE", "10.0.0.1", 0.0), "0" * 64, 100
    )


class Decoder:
    """Decodes at once, in the order of the calls; what is in `broken` fails so often."""

    def __init__(self, broken=None):
        self.begun = []
        self.broken = dict(broken or {})

    def __call__(self, one):
        self.begun.append(one.id)
        future = Future()
        if self.broken.get(one.id):
            self.broken[one.id] -= 1
            future.set_exception(DecodeRefused("decode_crashed", "the process died"))
        else:
            future.set_result(one.id)
        return future


def test_what_arrives_is_decoded_once_and_given_to_its_job():
    decoder = Decoder()
    ahead, images = Ahead(decoder), [receipt("a"), receipt("b")]
    for image in images:
        ahead.start(image, HEADER)
    assert ahead.take(images) == ["a", "b"] and decoder.begun == ["a", "b"]


def test_what_has_no_room_waits_until_its_job_is_next():
    decoder = Decoder()
    ahead, images = Ahead(decoder, limit_bytes=2 * BYTES), [receipt(name) for name in "abcd"]
    for image in images:
        ahead.start(image, HEADER)
    assert decoder.begun == ["a", "b"]
    assert ahead.take(images[:2]) == ["a", "b"]
    ahead.go_on(images[2:])
    assert decoder.begun == ["a", "b", "c", "d"] and ahead.take(images[2:]) == ["c", "d"]
    assert decoder.begun == ["a", "b", "c", "d"]


def test_a_large_image_counts_by_its_decoded_size():
    decoder = Decoder()
    Ahead(decoder, limit_bytes=2 * BYTES).start(receipt("a"), dataclasses.replace(HEADER, number_of_frames=3))
    assert decoder.begun == []


def test_a_decoder_that_died_is_tried_once_more_and_a_bad_file_is_not():
    assert Ahead(Decoder({"a": 1})).take([receipt("a")]) == ["a"]
    with pytest.raises(DecodeRefused):
        Ahead(Decoder({"a": 2})).take([receipt("a")])


@given(
    st.lists(st.tuples(st.sampled_from(["start", "go_on", "take", "forget"]), st.sampled_from("abcdef")), max_size=40)
)
def test_never_more_waits_than_the_limit_and_nothing_stays_behind(steps):
    decoder = Decoder()
    ahead = Ahead(decoder, limit_bytes=3 * BYTES)
    waiting = set()
    for what, name in steps:
        before = len(decoder.begun)
        if what == "start":
            ahead.start(receipt(name), HEADER)
        elif what == "go_on":
            ahead.go_on([receipt(name)])
        elif what == "take":
            assert ahead.take([receipt(name)]) == [name]
            waiting.discard(name)
            continue
        else:
            ahead.forget()
            waiting.clear()
        waiting.update(decoder.begun[before:])
        assert len(waiting) * 200 <= 3 * BYTES  # an image that was never announced counts twice its file
    ahead.forget()
    for name in "xyz":
        ahead.start(receipt(name), HEADER)
    assert decoder.begun[-3:] == ["x", "y", "z"]
