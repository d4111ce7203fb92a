"""The kernels for volumes give what the recipe gives, of every image, region and window."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import host_kernels
from support.models import SOURCE
from support.recipes import card_of

from edge_runtime.device.host import HostDevice
from edge_runtime.domain import Geometry, Volume
from edge_runtime.engines.card import read_card
from edge_runtime.engines.recipe import Normalize, Resample, Resize, Scale, Standardize, Step, Tile, Window
from edge_runtime.engines.sampling import resample_linear
from edge_runtime.engines.views import Region
from edge_runtime.errors import InferenceFailed
from edge_runtime.preprocess import compile_recipe
from edge_runtime.preprocess.on_device import volume_preparation
from edge_runtime.preprocess.on_device.grid import VIEW, WINDOW, taps

ENGINES = Path(__file__).parents[3] / "engines"
AXES = np.eye(3)


@pytest.fixture(scope="module")
def kernels():
    device = HostDevice(1)
    yield host_kernels.HostKernels(device)
    device.close()


def image(seed, shape, spacing=(1.0, 1.0, 1.0), order=(0, 1, 2), signs=(1, 1, 1)):
    voxels = np.random.default_rng(seed).integers(-1000, 2000, shape).astype(np.float32)
    directions = tuple(tuple(float(v) for v in sign * AXES[axis]) for axis, sign in zip(order, signs, strict=True))
    return Volume(voxels, Geometry(shape, (0.0, 0.0, 0.0), directions, spacing), "CT", (SOURCE,) * shape[0])


def filled(kernels, prepared, shape, dtype="float32", stream=None):
    device = kernels.device
    own = stream or device.stream()
    into = device.empty(shape, dtype)
    prepared.fill(into, own)
    found = np.zeros(shape, dtype)
    device.download(into, found, own)
    own.synchronize()
    if stream is None:
        own.close()
    return found


def check(kernels, card, volume, region=None, margin=0.1, tolerance=1e-4):
    """`tolerance`: of the largest value, at least of 1; 0: bit for bit."""
    expected = list(compile_recipe(card)(volume, region, margin))
    found = list(volume_preparation(card, kernels)(volume, region, margin))
    assert [place.placement for place in found] == [place.placement for place in expected]
    for place, of_host in zip(found, expected, strict=True):
        assert [p.tile for p in place.inputs] == [p.tile for p in of_host.inputs]
        for prepared, wanted in zip(place.inputs, of_host.inputs, strict=True):
            values = filled(kernels, prepared, card.input.shape)
            largest = max(1.0, float(np.abs(wanted.array).max()))
            assert np.abs(values - wanted.array).max() <= tolerance * largest


@pytest.mark.parametrize(("name", "dtype"), [("VolumeView", VIEW), ("VolumeWindow", WINDOW)])
def test_the_blocks_of_parameters_are_the_kernels_structs(name, dtype):
    offsets = tuple(dtype.fields[field][1] for field in dtype.names)
    assert host_kernels.layout("volume.cu", name, dtype.names) == (offsets, dtype.itemsize)


@given(st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_taps_weigh_as_the_resampling_does(size, new_size, antialiased):
    first, weights = taps(size, new_size, antialiased=antialiased)
    values = np.random.default_rng(size).uniform(-1, 1, size).astype(np.float32)
    found = [weight @ values[a : a + len(weight)] for a, weight in zip(first, weights, strict=True)]
    if antialiased:
        expected = resample_linear(values, (new_size,))
    else:
        expected = np.interp((np.arange(new_size) + 0.5) * size / new_size - 0.5, np.arange(size), values)
    assert found == pytest.approx(expected, abs=1e-6)


EXTENTS = st.tuples(*[st.integers(1, 16)] * 3)


@st.composite
def cases(draw):
    size, shape = draw(EXTENTS), draw(EXTENTS)
    kind = draw(st.sampled_from(["nearest-exact", "linear", "resample", "tile"]))
    steps = [Step(orient=draw(st.sampled_from(["RAS", "SPL", "LIA"]))), Step(crop="region")]
    if kind == "resample":
        steps.append(Step(resample=Resample(draw(st.tuples(*[st.floats(0.5, 3.0)] * 3)))))
    if kind in ("nearest-exact", "linear"):
        steps.append(Step(resize=Resize(size, method=kind)))
    steps += draw(st.lists(st.sampled_from(CHANGES), max_size=3))
    if kind in ("resample", "tile"):
        steps.append(Step(tile=Tile(size, fill=-5.0)))
    order, signs = draw(st.permutations(range(3))), draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    volume = image(draw(st.integers(0, 9)), shape, draw(st.tuples(*[st.floats(0.5, 3.0)] * 3)), order, signs)
    start = [draw(st.floats(0, n - 0.25)) for n in shape]
    stop = [draw(st.floats(a + 0.125, n)) for a, n in zip(start, shape, strict=True)]
    region = draw(st.sampled_from([None, Region(tuple(start), tuple(stop))]))
    return card_of((1, 1, *size), *steps), volume, region, 0.0 if kind in ("nearest-exact", "tile") else 2e-6


CHANGES = [
    Step(window=Window(range=(-1000.0, 2000.0))),
    Step(scale=Scale(1 / 255, -0.5)),
    Step(normalize=Normalize((0.449,), (0.226,))),
]


@given(cases())
@settings(max_examples=100)
def test_every_input_is_that_of_the_recipe(kernels, case):
    card, volume, region, tolerance = case
    check(kernels, card, volume, region, tolerance=tolerance)


@pytest.mark.parametrize("name", ["ct-hemorrhage-classifier", "ct-hemorrhage-detector", "ct-hemorrhage-segmenter"])
@pytest.mark.parametrize("region", [None, Region((2.0, 30.0, 41.5), (9.0, 60.0, 90.0))], ids=["whole", "region"])
def test_the_head_ct_networks_get_the_same_inputs(kernels, name, region):
    card, _ = read_card(ENGINES / name)
    check(kernels, card, image(1, (24, 128, 120), (5.0, 1.7, 1.8)), region, tolerance=1e-5)


def smaller(name, shape):
    """The engine's card with an input of another extent."""
    card, _ = read_card(ENGINES / name)
    steps = [Step(resize=replace(s.resize, shape=shape)) if s.resize else s for s in card.preprocess]
    output = replace(card.output, shape=(*card.output.shape[:2], *shape))
    return replace(card, input=replace(card.input, shape=(1, 1, *shape)), output=output, preprocess=tuple(steps))


@pytest.mark.parametrize("name", ["mr-brain-locator", "mr-brain-segmenter"])
@pytest.mark.parametrize("region", [None, Region((3.0, 5.0, 6.5), (21.0, 30.0, 39.0))], ids=["whole", "region"])
def test_the_head_mr_networks_get_the_same_inputs(kernels, name, region):
    volume = image(2, (30, 44, 40), (2.0, 1.0, 1.1), (1, 2, 0), (1, -1, 1))
    check(kernels, smaller(name, (48, 40, 36)), volume, region, tolerance=1e-5)


def test_places_may_be_filled_in_any_order_and_again(kernels):
    card = card_of((1, 1, 3, 3, 3), Step(crop="region"), Step(resize=Resize((3, 3, 3))))
    preparation, host = volume_preparation(card, kernels), compile_recipe(card)
    regions = [Region((0.0, 0.0, 0.0), (4.0, 4.0, 4.0)), Region((3.0, 1.0, 2.0), (9.0, 6.0, 7.0)), None]
    volumes = [image(1, (9, 8, 7)), image(2, (9, 8, 7)), image(3, (5, 6, 11))]
    pairs = [(volume, region) for volume in volumes for region in regions[: 3 if volume is not volumes[2] else 1]]
    inputs = [next(preparation(v, r, 0.0)).inputs[0] for v, r in pairs]
    wanted = [next(host(v, r, 0.0)).inputs[0].array for v, r in pairs]
    streams = [kernels.device.stream() for _ in range(2)]
    for n in (0, 1, 0, 6, 3, 2, 5, 4, 6, 1):
        assert (filled(kernels, inputs[n], card.input.shape, stream=streams[n % 2]) == wanted[n]).all()
    for stream in streams:
        stream.close()


def test_the_voxels_of_an_image_are_copied_once(kernels, monkeypatch):
    card = card_of((1, 1, 3, 3, 3), Step(tile=Tile((3, 3, 3))))
    volume, copies = image(1, (9, 8, 7)), []
    upload = kernels.device.upload
    monkeypatch.setattr(kernels.device, "upload", lambda a, b, s: (copies.append(a.nbytes), upload(a, b, s)))
    (place,) = volume_preparation(card, kernels)(volume, None, 0.0)
    for prepared in place.inputs:
        filled(kernels, prepared, card.input.shape)
    assert len(place.inputs) > 8 and copies.count(volume.voxels.nbytes) == 1


def test_an_input_of_float16_is_rounded_to_it(kernels):
    card, volume = card_of((1, 1, 3, 3, 3), Step(resize=Resize((3, 3, 3)))), image(1, (5, 4, 3))
    (place,), (expected,) = volume_preparation(card, kernels)(volume, None, 0.0), compile_recipe(card)(volume, None, 0)
    found = filled(kernels, place.inputs[0], card.input.shape, "float16")
    assert (found == expected.inputs[0].array.astype(np.float16)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_that_is_not_finite_is_refused(kernels, value):
    volume = image(1, (5, 4, 3))
    volume.voxels.setflags(write=True)
    volume.voxels[1, 1, 1] = value
    preparation = volume_preparation(card_of((1, 1, 3, 3, 3), Step(resize=Resize((3, 3, 3)))), kernels)
    with pytest.raises(InferenceFailed, match="not finite"):
        next(preparation(volume, None, 0.0))


@pytest.mark.parametrize("step", [Step(window=Window(quantiles=(0.005, 0.995))), Step(standardize=Standardize())])
def test_an_image_without_contrast_is_refused(kernels, step):
    volume = image(1, (5, 4, 3))
    volume.voxels.setflags(write=True)
    volume.voxels[...] = 0.1
    preparation = volume_preparation(card_of((1, 1, 3, 3, 3), Step(resize=Resize((3, 3, 3))), step), kernels)
    with pytest.raises(InferenceFailed, match="no contrast"):
        filled(kernels, next(preparation(volume, None, 0.0)).inputs[0], (1, 1, 3, 3, 3))


CUBE = (3, 3, 3)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((Step(window=Window(range=(0.0, 1.0))), Step(crop="region"), Step(resize=Resize(CUBE))), "before crop"),
        ((Step(scale=Scale(2.0)), Step(resize=Resize(CUBE))), "resize comes after"),
        ((Step(resize=Resize(CUBE, method="linear")), Step(window=Window(quantiles=(0.1, 0.9)))), "quantiles"),
        ((Step(resize=Resize(CUBE)), Step(normalize=Normalize((0.0,) * 3, (1.0,) * 3))), "colours are of frames"),
        ((Step(resize=Resize(CUBE)), *[Step(window=Window(range=(0.0, 1.0)))] * 5), "10 steps"),
    ],
)
def test_a_recipe_that_needs_the_host_says_why(kernels, steps, reason):
    assert reason in volume_preparation(card_of((1, 1, *CUBE), *steps), kernels)
