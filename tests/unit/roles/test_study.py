"""A series becomes a result that shows what the scanner would show."""

import numpy as np
import pytest
from support.models import SOURCE

from edge_runtime.assemble.decoded import DecodedObject, ImageFacts, Plane
from edge_runtime.config import Pipeline, Stage
from edge_runtime.domain import Analysis
from edge_runtime.roles.study import Study, conclude
from edge_runtime.spool.receipt import Arrival, Receipt

RAMP = np.linspace(-1000, 1000, 64, dtype=np.float32).reshape(8, 8)


class Silent:
    """A pipeline that says nothing."""

    input_kind = "volume"
    stages_json = "[]"
    notes = ()

    def run(self, image, seconds_left, trace):
        return Analysis((), ())


def slices(modality, window):
    for index in range(3):
        facts = ImageFacts(
            SOURCE.sop_class_uid, f"2.25.{index + 1}", "p", modality, ("ORIGINAL",), False, index + 1, None, "2.25.9",
            "MONOCHROME2", True, True, (1.0, 1.0), "patient", None, window, False,
        )  # fmt: skip
        plane = Plane((0.0, 0.0, 2.0 * index), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0), 2.0, (1.0, 0.0))
        yield DecodedObject(facts, (plane,), RAMP[None].copy())


def shown(modality, window):
    """The share of a key image that is neither black nor white."""
    arrival = Arrival(SOURCE.sop_class_uid, "2.25.1", "1.2.840.10008.1.2.1", "CT01", "EDGE", "10.0.0.1", 0.0)
    study = Study("job", 1, (Receipt("a", arrival, "0" * 64, 1),), "all", 60.0)
    config = Pipeline("p", (Stage("s", "e"),))
    (key,) = conclude(study, config, Silent(), list(slices(modality, window))).key_images
    return float(((key.pixels > 0) & (key.pixels < 255)).mean())


def test_a_ct_is_shown_through_the_scanners_window():
    assert shown("CT", (0.0, 400.0)) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(("modality", "window"), [("CT", None), ("CT", (0.0, 0.0)), ("MR", (0.0, 400.0))])
def test_another_image_is_shown_whole_for_its_window_may_mean_other_values(modality, window):
    assert shown(modality, window) > 0.9
