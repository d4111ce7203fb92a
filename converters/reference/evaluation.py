"""Choose thresholds on the validation phantoms, then measure on the test phantoms."""

from __future__ import annotations

from pathlib import Path

from converters.reference import baseline, document
from converters.reference.cases import Case, Settings, measure_all
from converters.reference.figures import OUTLINE_LEVELS, Chosen, choose
from converters.reference.samples import TEST, VALIDATION

_WHILE_CHOOSING = 0.3  # the detector's threshold, as long as none is chosen; nothing chosen depends on it


def evaluate(processes: int) -> Path:
    """Measure the committed networks and write figures, README and cards; returns the file of the figures."""
    chosen = choose(
        measure_all(VALIDATION, Settings(OUTLINE_LEVELS, _WHILE_CHOOSING, baseline.THRESHOLDS_HU), processes)
    )
    document.write(document.results(measure_all(TEST, settings_of(chosen), processes), chosen))
    return document.HERE / document.RESULTS_FILE


def settings_of(chosen: Chosen) -> Settings:
    """What to look at on test phantoms: the chosen thresholds alone."""
    hounsfield = (chosen.hu_of_presence, chosen.hu_of_boxes, chosen.hu_of_outlines, chosen.hu_of_outlines_in_boxes)
    return Settings((chosen.outline,), chosen.score, tuple(sorted(set(hounsfield))))


def measure_some(chosen: Chosen, count: int, processes: int) -> list[Case]:
    """The first test phantoms."""
    return measure_all(TEST, settings_of(chosen), processes, count)
