"""The calibration of a network on a card's samples; one pass serves every build of the same network."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.made import CALIBRATION_FILE
from converters.progress import Progress
from converters.quantize.calibrate import Observed, observe
from converters.samples import SampleSet, inputs
from edge_runtime.domain import Array
from edge_runtime.engines.card import Calibration, Card
from edge_runtime.engines.verify import read_document
from edge_runtime.errors import ConfigurationError, EngineRejected

_KEPT_INPUTS = 2  # for what is measured of single layers


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What the network's tensors held on `samples`; `inputs`: a few of its inputs.

    `inputs_key` names the samples and the recipe that made inputs of them.
    """

    settings: Calibration
    samples: SampleSet
    inputs_key: str
    observed: Observed
    inputs: tuple[Array, ...]

    def to_json(self) -> str:
        """For another build of the same network."""
        return json.dumps({"inputs_key": self.inputs_key, "observed": json.loads(self.observed.to_json())})


def calibrate(
    card: Card, settings: Calibration, samples: SampleSet, prepared: bytes, built: Path | None, progress: Progress
) -> Calibrated:
    """Observe the prepared network on the samples, unless an engine below the folder `built` holds that already.

    Raises:
        ConfigurationError: a sample cannot be used.
        EngineRejected: a tensor became infinite or not a number.
    """
    first: list[Array] = []
    if built is not None and any(built.glob(f"*/{CALIBRATION_FILE}")):
        key = _inputs_key(card, samples)
        for file in sorted(built.glob(f"*/{CALIBRATION_FILE}")):
            observed = _read(file, key, hashlib.sha256(prepared).hexdigest())
            if observed is not None:
                progress.say(f"the calibration of {file.parent.name} is of the same network and samples: used again")
                few = tuple(itertools.islice(inputs(card, samples), _KEPT_INPUTS))
                return Calibrated(settings, samples, key, observed, few)
    with progress.step(f"calibrating on {samples.name}"):
        observed = observe(prepared, _keeping(inputs(card, samples), first), progress, None)
    return Calibrated(settings, samples, _inputs_key(card, samples), observed, tuple(first))


def _inputs_key(card: Card, samples: SampleSet) -> str:
    return hashlib.sha256(repr((samples.sha256(), card.input, card.preprocess)).encode()).hexdigest()


def _read(file: Path, key: str, network_sha256: str) -> Observed | None:
    """What the file holds, if it is of this network on these inputs."""
    try:
        document = json.loads(read_document(file.parent, file.name))
        if document["inputs_key"] != key:
            return None
        observed = Observed.from_json(json.dumps(document["observed"]))
    except (ValueError, KeyError, TypeError, RecursionError, ConfigurationError, EngineRejected):
        return None  # of another version, or not that of its passport: the pass is made again
    return observed if observed.network_sha256 == network_sha256 else None


def _keeping(arrays: Iterable[Array], first: list[Array]) -> Iterator[Array]:
    """The arrays as they come; the first few are also put into `first`."""
    for array in arrays:
        if len(first) < _KEPT_INPUTS:
            first.append(array.copy())
        yield array
