"""Generators: found beside the card, called with the count, held to the same rules as files."""

from __future__ import annotations

import itertools
import sys
import textwrap

import numpy as np
import pytest
from support.samples import card_of

from converters.reference import sets
from converters.samples import open_samples
from edge_runtime.engines.card import Samples
from edge_runtime.errors import ConfigurationError

pytestmark = pytest.mark.slow

MODULE = """
    import numpy as np
    from converters.samples import Sample, Truth
    from converters.samples.pictures import frames

    def pictures(count):
        for k in range(count + 5):
            yield Sample.of(f"picture {k}", frames(np.full((1, 8, 8), k, np.float32)), Truth(frozenset({"brain"})))

    def wrong(count):
        yield Sample.of("picture", frames(np.zeros((1, 8, 8), np.float32)), Truth(frozenset({"brian"})))

    def broken(count):
        raise RuntimeError("no more")
        yield

    def numbers(count):
        yield 1

    def leaving(count):
        raise SystemExit(0)
        yield

    def blind(count):
        yield Sample("picture", "0" * 64, None)

    nothing = 3
"""


@pytest.fixture
def opener(tmp_path):
    name = f"generators_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    card = card_of(tmp_path / "cards")

    def opened(callable_name, count=3, module=name):
        return open_samples(card, Samples(generator=f"{module}:{callable_name}", count=count), tmp_path, True)

    yield opened
    sys.modules.pop(name, None)
    assert str(tmp_path) not in sys.path


def test_a_generator_beside_the_card_gives_at_most_the_count(opener):
    samples = opener("pictures")
    assert len(samples) == len(list(samples)) == len(samples.identities()) == 3
    assert [s.name for s in samples] == ["picture 0", "picture 1", "picture 2"]


@pytest.mark.parametrize(("name", "message"), [
    ("wrong", "picture: card tiny has no label 'brian'"),
    ("broken", "failed: RuntimeError: no more"),
    ("numbers", "gave int, not"),
    ("leaving", "failed: SystemExit: 0"),
    ("blind", "a sample whose image is NoneType"),
])  # fmt: skip
def test_a_generator_that_fails_is_named(opener, name, message):
    with pytest.raises(ConfigurationError, match=message):
        list(opener(name))


def test_a_generator_that_is_not_there_is_refused_at_once(opener):
    for arguments, message in (
        ({"callable_name": "absent"}, "absent"),
        ({"callable_name": "nothing"}, "is no callable"),
        ({"callable_name": "f", "module": "no_such_module"}, "must be on PYTHONPATH or in"),
        ({"callable_name": "pictures", "count": None}, "needs a count"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            opener(**arguments)


@pytest.mark.parametrize("text", ["1 / 0", "def (", "raise SystemExit(0)"])
def test_a_generator_that_cannot_be_imported_is_named(opener, tmp_path, text):
    (tmp_path / f"broken_{tmp_path.name}.py").write_text(text)
    with pytest.raises(ConfigurationError, match="importing it failed"):
        opener("f", module=f"broken_{tmp_path.name}")


def test_the_reference_sets_are_the_same_each_time_and_share_no_image():
    first, again = (next(iter(sets.holdout(1))) for _ in range(2))
    assert first.sha256 == again.sha256
    assert first.sha256 != next(iter(sets.calibration(1))).sha256
    assert first.truth.positive == {"hemorrhage"} and first.truth.boxes


def test_the_reference_regions_hold_their_haemorrhages():
    samples = list(itertools.islice(sets.holdout_regions(3), 3))
    assert len(samples) == 3 == len({s.name for s in samples})
    for sample in samples:
        box = sample.region.box(sample.image.geometry.shape)
        assert np.count_nonzero(sample.truth.masks["hemorrhage"][box.slices]) > 5
