"""The kernel for frames gives what the recipe gives, on every picture and at every crop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import host_kernels
from support.recipes import card_of, frames_of, picture

from edge_runtime.device.host import HostDevice
from edge_runtime.engines.recipe import Letterbox, Normalize, Resize, Scale, Standardize, Step, Tile, Window
from edge_runtime.engines.views import Region
from edge_runtime.errors import InferenceFailed
from edge_runtime.preprocess import compile_recipe
from edge_runtime.preprocess.on_device import frame_preparation
from edge_runtime.preprocess.on_device.frames import PARAMETERS


@pytest.fixture(scope="module")
def kernels():
    device = HostDevice(1)
    yield host_kernels.HostKernels(device)
    device.close()


def on_device(kernels, card, pixels, region=None, margin=0.0, dtype="float32"):
    preparation = frame_preparation(card, kernels)
    placement, block = preparation.place(pixels.shape, pixels.dtype.name, region, margin)
    device, stream = kernels.device, kernels.device.stream()
    source, parameters = device.empty(pixels.shape, pixels.dtype.name), device.empty((block.nbytes,), "uint8")
    into = device.empty(card.input.shape, dtype)
    device.upload(pixels, source, stream)
    device.upload(block.view(np.uint8), parameters, stream)
    preparation.enqueue(source, parameters, into, stream)
    found = np.zeros(into.shape, into.dtype)
    device.download(into, found, stream)
    stream.synchronize()
    stream.close()
    return placement, found


def on_host(card, pixels, region=None, margin=0.0):
    (place,) = compile_recipe(card)(frames_of(pixels), region, margin)
    return place.placement, place.inputs[0].array


def test_the_block_of_parameters_is_the_kernels_struct():
    names = PARAMETERS.names
    offsets = tuple(PARAMETERS.fields[name][1] for name in names)
    assert host_kernels.layout("frame.cu", "FrameParameters", names) == (offsets, PARAMETERS.itemsize)


DTYPES = ("uint8", "uint16", "int16", "float32")
EXTENTS = st.tuples(st.integers(1, 40), st.integers(1, 40))
METHODS = st.sampled_from(["linear", "nearest-exact"])


@st.composite
def regions(draw, shape):
    start = [draw(st.floats(0, n - 0.25)) for n in shape]
    stop = [draw(st.floats(a + 0.125, n)) for a, n in zip(start, shape, strict=True)]
    return Region((0.0, *start), (1.0, *stop))


@st.composite
def cases(draw):
    """A picture and a recipe without changes of values: what is sampled, as it is."""
    shape, size = draw(EXTENTS), draw(EXTENTS)
    channels = draw(st.sampled_from([1, 3]))
    kind = draw(st.sampled_from(["resize", "letterbox"]))
    sampling = {"resize": Resize, "letterbox": Letterbox}[kind](size, method=draw(METHODS))
    steps = [Step(crop="region"), Step(**{kind: sampling})]
    pixels = picture(draw(st.integers(0, 9)), (*shape, 3) if channels == 3 else shape, draw(st.sampled_from(DTYPES)))
    region = draw(st.none() | regions(shape))
    return card_of((1, channels, *size), *steps), pixels, region, draw(st.sampled_from([0.0, 0.25])), sampling.method


@given(cases())
@settings(max_examples=150)
def test_what_is_sampled_is_what_the_recipe_samples(kernels, case):
    card, pixels, region, margin, method = case
    expected, values = on_host(card, pixels, region, margin)
    placement, found = on_device(kernels, card, pixels, region, margin)
    assert placement == expected
    if method == "linear":
        assert found == pytest.approx(values, rel=1e-6, abs=1e-6 * float(np.ptp(pixels.astype(np.float64))) + 1e-6)
    else:
        assert (found == values).all()


CHANGES = st.sampled_from(
    [
        Step(colour="grey"),
        Step(colour="rgb"),
        Step(window=Window(range=(-100.0, 1000.0))),
        Step(scale=Scale(1 / 255, -0.5)),
        Step(normalize=Normalize((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))),
        Step(normalize=Normalize((0.449,), (0.226,))),
    ]
)


@given(st.lists(CHANGES, max_size=3), st.sampled_from(DTYPES), st.booleans(), st.booleans())
def test_values_change_in_the_recipes_order(kernels, changes, dtype, colour, grey_out):
    wanted = Step(colour="grey" if grey_out else "rgb")
    card = card_of((1, 1 if grey_out else 3, 5, 4), Step(letterbox=Letterbox((5, 4), fill=50.0)), *changes, wanted)
    pixels = picture(3, (9, 7, 3) if colour else (9, 7), dtype)
    try:
        _, values = on_host(card, pixels)
    except InferenceFailed as error:
        assert "normalize has 3 channels" in str(error)
        with pytest.raises(InferenceFailed, match="normalize has 3 channels"):
            on_device(kernels, card, pixels)
        return
    _, found = on_device(kernels, card, pixels)
    assert found == pytest.approx(values, rel=2e-6, abs=1e-6 * float(np.abs(values).max()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_integers_at_nearest_pixels_are_the_recipes_bit_for_bit(kernels, dtype):
    changes = Step(window=Window(range=(-100.0, 1000.0))), Step(scale=Scale(1 / 3, -0.1))
    card = card_of((1, 3, 5, 4), Step(resize=Resize((5, 4))), *changes)
    pixels = picture(1, (9, 7, 3), dtype)
    assert (on_device(kernels, card, pixels)[1] == on_host(card, pixels)[1]).all()


def test_an_input_of_float16_is_rounded_to_it(kernels):
    card = card_of((1, 3, 5, 4), Step(resize=Resize((5, 4))), Step(scale=Scale(1 / 255)))
    pixels = picture(1, (9, 7, 3), "uint8")
    _, found = on_device(kernels, card, pixels, dtype="float16")
    assert (found == on_host(card, pixels)[1].astype(np.float16)).all()


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((Step(resize=Resize((4, 4))), Step(window=Window(quantiles=(0.1, 0.9)))), "quantiles"),
        ((Step(resize=Resize((4, 4))), Step(standardize=Standardize())), "standardize"),
        ((Step(scale=Scale(2.0)), Step(resize=Resize((4, 4)))), "scale comes before"),
        ((Step(resize=Resize((5, 5))), Step(resize=Resize((4, 4)))), "resize comes after"),
        ((Step(tile=Tile((4, 4))),), "tile comes before"),
        ((Step(resize=Resize((4, 4))), *[Step(window=Window(range=(0.0, 1.0)))] * 5), "10 steps"),
    ],
)
def test_a_recipe_that_needs_the_host_says_why(kernels, steps, reason):
    assert reason in frame_preparation(card_of((1, 1, 4, 4), *steps), kernels)


def test_a_volumes_recipe_is_none_of_frames(kernels):
    card = card_of((1, 1, 4, 4, 4), Step(resize=Resize((4, 4, 4))))
    assert frame_preparation(card, kernels) == "its input is a volume"


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((9, 7, 3), "uint8", "the input has 1"),
        ((9, 7, 2), "uint8", "no picture"),
        ((0, 7), "uint8", "no picture"),
        ((9, 7), "float64", "got float64"),
        ((2**25, 7), "uint8", "too large"),
    ],
)
def test_a_picture_that_does_not_fit_is_refused(kernels, shape, dtype, message):
    preparation = frame_preparation(card_of((1, 1, 32, 4), Step(resize=Resize((32, 4)))), kernels)
    with pytest.raises(InferenceFailed, match=message):
        preparation.place(shape, dtype, None, 0.0)
