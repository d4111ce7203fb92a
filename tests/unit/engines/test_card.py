"""A card is read whole or refused with file, line and key."""

import copy

import pytest
import yaml
from support.built_engines import ROOT
from support.models import card, segmenter, write_card

from edge_runtime.engines.card import read_card
from edge_runtime.errors import ConfigurationError

SHAPE = (1, 1, 4, 5, 6)
ENGINES = sorted(path.parent.name for path in (ROOT / "engines").glob("*/model.yaml"))


def changed(path, value):
    """The segmentation card with one key changed, or taken out where the value is None."""
    document = card("segmentation", SHAPE)
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


def test_there_are_shipped_cards():
    assert len(ENGINES) >= 5


@pytest.mark.parametrize("name", ENGINES)
def test_the_shipped_cards_are_valid_and_say_that_they_are_for_research(name):
    found, digest = read_card(ROOT / "engines" / name)
    assert found.name == name and len(digest) == 64
    assert "not for clinical use" in found.intended_use.lower()


def test_the_hash_is_that_of_the_file(tmp_path):
    folder = write_card(tmp_path, card("segmentation", SHAPE), segmenter(SHAPE))
    _, before = read_card(folder)
    file = folder / "model.yaml"
    file.write_text(file.read_text() + "\n")
    assert read_card(file)[1] != before


CARRIED = {"format": "onnx", "sha256": "0" * 64, "license": "x", "package": "a", "version": "1", "member": "a"}
WRONG = [
    (("surprise",), 1, r"model.yaml:\d+: surprise: unknown key"),
    (("name",), "../up", "name: use a-z"),
    (("task",), "segmentatoin", "did you mean 'segmentation'"),
    (("intended_use",), " ", "intended_use: must say"),
    (("tolerance",), 0.0, "tolerance: must be positive"),
    (("checkpoint", "member"), "a.pt", "give either path, or package"),
    (("checkpoint", "path"), None, "give either path, or package"),
    (("checkpoint",), {**CARRIED, "package": "--index-url=http://a.invalid"}, "package: is a plain name or number"),
    (("checkpoint",), {**CARRIED, "version": "1 @ http://a.invalid/a.tar.gz"}, "version: is a plain name or number"),
    (("checkpoint", "format"), "state_dict", "architecture: goes with format: state_dict"),
    (("checkpoint", "architecture"), {"callable": "a:b"}, "architecture: goes with format: state_dict"),
    (("checkpoint", "architecture"), {"callable": "os.system"}, "callable: is module:name"),
    (("checkpoint", "architecture"), {"callable": "a:b", "arguments": [1]}, "arguments: must be a mapping"),
    (("checkpoint", "entry"), "model", "entry: goes with format: state_dict"),
    (("calibration",), {"path": "a", "generator": "a:b"}, "give either path or generator"),
    (("calibration",), {"count": 3}, "give either path or generator"),
    (("calibration",), {"path": "a", "method": "mean"}, "must be one of minmax, percentile, entropy"),
    (("calibration",), {"path": "a", "percentile": 101.0}, "percentile: is above 50"),
    (("holdout",), {"path": "a", "count": 0}, "count: must be at least 1"),
    (("holdout",), {"generator": "/etc/x.py"}, "generator: is module:name"),
    (
        ("gate",),
        [{"metric": "auc", "tolerance": 0.01}],
        r"gate\[0\].metric: of a segmentation is dice_mean or dice_worst",
    ),
    (("gate",), [{"metric": "dice_mean", "tolerance": 1.0}], "tolerance: is a share"),
    (("gate",), [{"metric": "dice_mean", "tolerance": 0.1, "at_least": 2.0}], "at_least: is a share"),
    (
        ("gate",),
        [{"metric": "dice_mean", "tolerance": 0.1, "at_specificity": 0.9}],
        "at_specificity: goes with sensitivity",
    ),
    (("input", "shape"), [2, 1, 4, 5, 6], "batch"),
    (("input", "shape"), [1, 1, 4, 5], "has 5 numbers"),
    (("preprocess", 2, "resize", "shape"), [4, 5, 7], "last resize, letterbox or tile must give"),
    (("preprocess", 0), {"orient": "RAL"}, "name one of R/L"),
    (("preprocess", 0), {"orient": "RAS", "crop": "region"}, "exactly one of"),
    (("preprocess", 1), {"orient": "RAS"}, "first step"),
    (("preprocess", 3), {"crop": "region"}, "before resize"),
    (("preprocess", 3, "window"), {"range": [1.0, 0.0]}, "the lower first"),
    (("preprocess", 3, "window"), {"range": [0.0, 1.0], "quantiles": [0.0, 1.0]}, "either range or quantiles"),
    (("output", "shape"), [1, 2], "the 3 axes of space"),
    (("labels",), [], "name at least one"),
    (("labels", 0, "channel"), 2, "the output has 2 channels"),
    (("labels", 0, "threshold"), 1.0, "between 0 and 1"),
    (("labels", 0, "category"), None, "Segmented Property Category"),
    (("task",), "classification", "of a classification is"),
    (("decode",), {"layout": "yolov8"}, "yolov8 is for detections"),
    (("decode",), {"minimum_ml": 1.0}, "goes with keep: each"),
    (("decode",), {"overlap": 1.0}, "overlap: is a share"),
    (("preprocess", 2), {"tile": {"shape": [4, 5, 6]}}, "tile is the last step"),
    (("preprocess", 3), {"tile": {"shape": [4, 5, 7]}}, "last resize, letterbox or tile must give"),
    (("preprocess", 3), {"tile": {"shape": [4, 5, 6], "overlap": 1.0}}, "overlap: is a share"),
    (("preprocess", 1), {"resample": {"spacing_mm": [1.0, 1.0]}}, "name 3 spacings"),
    (("preprocess", 1), {"resample": {"spacing_mm": [1.0, 0.0, 1.0]}}, "positive numbers"),
    (("preprocess", 3), {"resample": {"spacing_mm": [1.0, 1.0, 1.0]}}, "resample comes before resize"),
    (("expect",), {"what": "brain", "range": [0.0, 90.0], "volume_ml": [9.0, 1.0]}, "the lower first"),
    (("evaluation",), {"data": "few", "command": "none", "metrics": []}, "name at least one"),
    (
        ("evaluation",),
        {"data": "few", "command": "x", "metrics": [{"name": "auc", "value": 0.5, "low": 0.6}]},
        "lies within low..high",
    ),
]


def test_each_is_not_for_masks_of_frames(tmp_path):
    document = card("segmentation", (1, 1, 8, 8), decode={"keep": "each"})
    with pytest.raises(ConfigurationError, match="each is for detections, and for segmentations of volumes"):
        read_card(write_card(tmp_path, document, segmenter((1, 1, 8, 8))))


def test_a_crop_after_resampling_is_refused(tmp_path):
    steps = [{"resample": {"spacing_mm": [1.0, 1.0, 1.0]}}, {"crop": "region"}, {"tile": {"shape": list(SHAPE[2:])}}]
    with pytest.raises(ConfigurationError, match="crop comes before resize, letterbox and resample"):
        read_card(write_card(tmp_path, card("segmentation", SHAPE, preprocess=steps), segmenter(SHAPE)))


LETTERBOX = {"letterbox": {"shape": [8, 8]}}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"resize": {"shape": [9, 9]}}, LETTERBOX], "the only step that samples"),
        ([LETTERBOX, {"tile": {"shape": [8, 8]}}], "the only step that samples"),
        ([LETTERBOX, {"crop": "region"}], "crop comes before"),
        ([{"letterbox": {"shape": [8, 9]}}], "must give the input's"),
        ([{"letterbox": {"shape": [8, 8, 8]}}], "two positive numbers"),
    ],
)
def test_a_letterbox_is_the_one_step_that_samples(tmp_path, steps, message):
    document = card("segmentation", (1, 1, 8, 8), preprocess=steps)
    with pytest.raises(ConfigurationError, match=message):
        read_card(write_card(tmp_path, document, segmenter((1, 1, 8, 8))))


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_what_is_wrong_with_a_card_is_named(tmp_path, path, value, message):
    folder = write_card(tmp_path, {**changed(path, value), "name": changed(path, value)["name"].replace("../", "up-")})
    if path == ("name",):
        file = folder / "model.yaml"
        document = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({**document, "name": value}))
    with pytest.raises(ConfigurationError, match=message):
        read_card(folder)


def test_a_label_stands_once(tmp_path):
    document = card("segmentation", SHAPE)
    document["labels"].append(copy.deepcopy(document["labels"][0]))
    with pytest.raises(ConfigurationError, match="stands twice"):
        read_card(write_card(tmp_path, document))


def test_a_missing_card_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="no such card"):
        read_card(tmp_path)


def test_softmax_over_one_channel_is_no_answer(tmp_path):
    document = card("classification", (1, 1, 4, 4), decode={"activation": "softmax"})
    with pytest.raises(ConfigurationError, match="softmax over one channel is always 1"):
        read_card(write_card(tmp_path, document, segmenter((1, 1, 4, 4))))
