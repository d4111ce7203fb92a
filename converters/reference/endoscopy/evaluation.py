"""Choose thresholds on the validation patients, then measure on the test patients."""

from __future__ import annotations

from pathlib import Path

from converters.reference.endoscopy import baseline, document
from converters.reference.endoscopy.cases import Case, Settings, measure_all
from converters.reference.endoscopy.figures import OUTLINE_LEVELS, Chosen, choose
from converters.reference.endoscopy.samples import TEST, VALIDATION

_WHILE_CHOOSING = 0.3  # the detector's threshold, as long as none is chosen; nothing chosen depends on it


def evaluate(processes: int) -> Path:
    """Measure the committed networks and write figures, README and cards; returns the file of the figures."""
    every = Settings(OUTLINE_LEVELS, _WHILE_CHOOSING, baseline.BOX_LEVELS, baseline.COLOUR_LEVELS)
    chosen = choose(measure_all(VALIDATION, every, processes))
    document.write(document.results(measure_all(TEST, settings_of(chosen), processes), chosen))
    return document.HERE / document.RESULTS_FILE


def settings_of(chosen: Chosen) -> Settings:
    """What to look at on test patients: the chosen thresholds alone."""
    return Settings((chosen.outline,), chosen.score, (chosen.box_level,), (chosen.colour_level,))


def measure_some(chosen: Chosen, patients: int, processes: int) -> list[Case]:
    """The first test patients."""
    return measure_all(TEST, settings_of(chosen), processes, patients)
