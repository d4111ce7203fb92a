"""Values: what is stored must come out, or a refusal that says why."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from support.dicom_objects import NATIVE_SYNTAXES, ct_series, multi_frame, picture, save, volume_series

from edge_runtime.assemble.transfer_syntaxes import DECODABLE
from edge_runtime.errors import DecodeRefused

RECEIVED = [
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"),
    *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"),
    *("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
    "1.2.840.10008.1.2.5",
]
RNG = np.random.default_rng(7)


@pytest.fixture
def reason(decode):
    def refused(*arguments, **options):
        with pytest.raises(DecodeRefused) as caught:
            decode(*arguments, **options)
        return caught.value.reason

    return refused


def one_lut(keyword, first, entries, bits=16):
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.add_new(0x00283006, "US", [int(v) for v in entries])
    return {keyword: Sequence([item])}


def palette_attributes(first, entries, bits=16):
    """entries: (n, 3)."""
    attributes = {"PhotometricInterpretation": "PALETTE COLOR"}
    for index, colour in enumerate(("Red", "Green", "Blue")):
        stem = f"{colour}PaletteColorLookupTable"
        attributes[f"{stem}Descriptor"] = [len(entries), first, bits]
        attributes[f"{stem}Data"] = np.asarray(entries)[:, index].astype("<u2").tobytes()
    return attributes


def test_every_syntax_that_is_received_can_be_decoded():
    assert sorted(DECODABLE) == sorted(RECEIVED)


@pytest.mark.parametrize("syntax", [*NATIVE_SYNTAXES, RLELossless])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_every_stored_value_comes_out_with_its_rescale(decode, syntax, dtype):
    limits = np.iinfo(dtype)
    stored = RNG.integers(limits.min, limits.max, (3, 5), dtype, endpoint=True)
    stored[0, :2] = limits.min, limits.max
    decoded = decode(volume_series(stored[None], rescale=(2.0, -7.5))[0], syntax)
    assert decoded.frames.dtype == np.float32
    assert np.array_equal(decoded.frames[0], stored * 2.0 - 7.5)
    assert not decoded.frames.flags.writeable


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize("signed", [False, True])
def test_the_bits_above_bits_stored_do_not_count(decode, syntax, signed):
    values = np.array([[0, 1, 2047, 100]], np.int16) - (2048 if signed else 0)
    dirty = (values.astype(np.uint16) & 0x0FFF) | 0x5000
    data_set = volume_series(dirty[None], rescale=(1, 0), BitsStored=12, HighBit=11, PixelRepresentation=int(signed))[0]
    assert np.array_equal(decode(data_set, syntax).frames[0], values)


def test_hounsfield_units_come_out_of_a_ct_slice(decode):
    hounsfield = RNG.integers(-1024, 3071, (1, 4, 4), endpoint=True)
    decoded = decode(ct_series(hounsfield)[0])
    assert np.array_equal(decoded.frames, hounsfield)
    assert decoded.facts.in_modality_units


def test_monochrome1_is_turned_so_that_larger_is_brighter(decode):
    stored = np.array([[0, 100, 4095]], np.uint16)
    options = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    assert decode(picture(stored, **options)).frames[0].tolist() == [[4095, 3995, 0]]
    signed = volume_series(np.array([[[-2048, 0, 2047]]], np.int16), modality="MR", rescale=(2, 1), **options)[0]
    assert decode(signed).frames[0].tolist() == [[4095, -1, -4095]]


def test_monochrome1_leaves_hounsfield_units_as_they_are(decode):
    hounsfield = np.array([[[-1000, 0, 60]]])
    decoded = decode(ct_series(hounsfield, PhotometricInterpretation="MONOCHROME1")[0])
    assert np.array_equal(decoded.frames, hounsfield)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_padding_gets_the_lowest_value_of_the_rest(decode, syntax):
    stored = np.array([[[-2000, -1000, 40, -2000]]], np.int16)
    data_set = volume_series(stored, rescale=(1, 0), PixelPaddingValue=-2000)[0]
    assert decode(data_set, syntax).frames.tolist() == [[[-1000, -1000, 40, -1000]]]


def test_a_padding_range_counts_from_either_end_and_a_frame_of_padding_stays(decode):
    stored = np.array([[[0, 5, 10, 11]]], np.uint16)
    data_set = volume_series(stored, rescale=(1, 0), PixelPaddingValue=10, PixelPaddingRangeLimit=0)[0]
    assert decode(data_set).frames.tolist() == [[[11, 11, 11, 11]]]
    assert decode(volume_series(stored * 0 + 3, rescale=(1, 0), PixelPaddingValue=3)[0]).frames.min() == 3


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_modality_lut_is_applied_and_clamped_at_its_ends(decode, syntax):
    stored = np.array([[-32768, -2, -1, 0, 32767]], np.int16)
    data_set = picture(stored, **one_lut("ModalityLUTSequence", -2, [7, 500, 9000]))
    decoded = decode(data_set, syntax)
    assert decoded.frames[0].tolist() == [[7, 7, 500, 9000, 9000]]
    assert decoded.facts.in_modality_units


def test_a_modality_lut_that_is_too_short_is_refused(reason):
    attributes = one_lut("ModalityLUTSequence", 0, [1, 2, 3])
    attributes["ModalityLUTSequence"][0].LUTDescriptor = [4, 0, 16]
    assert reason(picture(np.zeros((2, 2), np.uint16), **attributes)) == "bad_rescale"


def test_a_rescale_slope_of_nothing_is_refused(reason):
    assert reason(volume_series(np.zeros((1, 2, 2), np.uint16), rescale=(0, 5))[0]) == "bad_rescale"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize("scale, bits", [(1, 8), (1, 16), (257, 16)])
def test_a_palette_becomes_rgb(decode, syntax, scale, bits):
    colours = RNG.integers(0, 256, (6, 3))
    stored = np.array([[0, 2, 4, 7], [3, 5, 1, 255]], np.uint8)
    if syntax == ExplicitVRBigEndian:
        attributes = palette_attributes(2, colours * scale, bits)
        for keyword in [k for k in attributes if k.endswith("Data")]:
            attributes[keyword] = np.frombuffer(attributes[keyword], "<u2").astype(">u2").tobytes()
    else:
        attributes = palette_attributes(2, colours * scale, bits)
    decoded = decode(picture(stored, **attributes), syntax)
    assert decoded.frames.dtype == np.uint8
    assert np.array_equal(decoded.frames[0], colours[np.clip(stored.astype(int) - 2, 0, 5)])


def test_a_palette_of_segments_becomes_rgb(decode):
    attributes = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        stem = f"{colour}PaletteColorLookupTable"
        attributes[f"{stem}Descriptor"] = [6, 0, 16]
        attributes[f"Segmented{stem}Data"] = np.array([0, 2, 0, 25600, 1, 4, 35840], "<u2").tobytes()
    decoded = decode(picture(np.arange(6, dtype=np.uint8).reshape(2, 3), **attributes))
    assert decoded.frames[0, ..., 0].ravel().tolist() == [0, 100, 110, 120, 130, 140]


def test_a_missing_palette_is_refused(reason):
    assert (
        reason(picture(np.zeros((2, 2), np.uint8), PhotometricInterpretation="PALETTE COLOR"))
        == "unsupported_photometric"
    )


@pytest.mark.parametrize("syntax", [*NATIVE_SYNTAXES, RLELossless])
def test_rgb_comes_out_as_it_is_by_pixel_and_by_plane(decode, syntax):
    pixels = RNG.integers(0, 256, (2, 3, 4, 3), np.uint8)
    assert np.array_equal(decode(multi_frame(pixels), syntax).frames, pixels)
    planar = multi_frame(pixels, PlanarConfiguration=1)
    planar.PixelData = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).tobytes()
    if syntax != RLELossless:  # the encoder takes colour by pixel only
        assert np.array_equal(decode(planar, syntax).frames, pixels)


def test_ybr_becomes_the_rgb_that_the_standard_says(decode):
    rgb = RNG.integers(20, 236, (1, 3, 4, 3)).astype(float)
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])  # C.7.6.3.1.2
    ybr = np.clip(np.rint(rgb @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)
    decoded = decode(multi_frame(ybr, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(decoded.frames - rgb).max() <= 2
    halved = ybr.copy()
    halved[:, :, 1::2, 1:] = halved[:, :, ::2, 1:]
    subsampled = np.stack(
        [halved[:, :, ::2, 0], halved[:, :, 1::2, 0], halved[:, :, ::2, 1], halved[:, :, ::2, 2]], axis=-1
    )
    packed = multi_frame(ybr, PhotometricInterpretation="YBR_FULL_422")
    packed.PixelData = subsampled.tobytes()
    full = decode(multi_frame(halved, PhotometricInterpretation="YBR_FULL"))
    assert np.array_equal(decode(packed).frames, full.frames)


@pytest.mark.parametrize(
    "expected, attributes",
    [
        ("unsupported_photometric", {"PhotometricInterpretation": "CMYK"}),
        ("unsupported_photometric", {"PhotometricInterpretation": None}),
        ("unsupported_pixel_format", {"PhotometricInterpretation": "RGB"}),
        ("unsupported_pixel_format", {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}),
        ("unsupported_pixel_format", {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}),
        ("unsupported_pixel_format", {"BitsStored": 12}),
        ("unsupported_pixel_format", {"BitsStored": 17, "HighBit": 16}),
        ("unsupported_pixel_format", {"Rows": 0}),
        ("unsupported_pixel_format", {"Columns": None}),
        ("no_pixels", {"PixelData": None}),
        ("truncated", {"Rows": 5}),
        ("truncated", {"NumberOfFrames": 2}),
        ("pixel_length_mismatch", {"Rows": 3}),
        ("too_large", {"Rows": 60000, "Columns": 60000}),
    ],
)
def test_a_header_that_does_not_fit_is_refused_with_its_reason(reason, expected, attributes):
    assert reason(picture(np.zeros((4, 4), np.uint16), **attributes)) == expected


def test_one_byte_of_padding_is_allowed_and_two_are_not(decode, reason):
    data_set = picture(np.full((3, 3), 9, np.uint8))
    assert len(data_set.PixelData) == 10
    assert (decode(data_set).frames == 9).all()
    data_set.PixelData += b"\0\0"
    assert reason(data_set) == "pixel_length_mismatch"


def test_a_syntax_without_decoder_is_refused(tmp_path, reason):
    path = save(picture(np.zeros((4, 4), np.uint8)), tmp_path / "a.dcm")
    path.write_bytes(
        path.read_bytes().replace(b"UI\x14\x001.2.840.10008.1.2.1\x00", b"UI\x14\x001.2.840.10008.1.2.9\x00")
    )
    assert reason(path) == "unsupported_transfer_syntax"


@pytest.mark.parametrize("frames, expected", [(1, "truncated"), (3, "pixel_length_mismatch")])
def test_fragments_for_another_number_of_frames_are_refused(tmp_path, reason, frames, expected):
    clip = multi_frame(RNG.integers(0, 256, (3, 8, 8), np.uint8))
    path = save(clip, tmp_path / "a.dcm", RLELossless)
    number = b"\x28\x00\x08\x00IS\x02\x00"
    assert number in path.read_bytes()
    stated = {1: b"4 ", 3: b"2 "}[frames]
    path.write_bytes(path.read_bytes().replace(number + b"3 ", number + stated))
    assert reason(path) == expected


def test_encapsulated_data_without_its_end_is_refused(tmp_path, reason):
    path = save(picture(RNG.integers(0, 256, (64, 64), np.uint8)), tmp_path / "a.dcm", RLELossless)
    whole = path.read_bytes()
    for missing in (8, 9, 100, 2000, 4000):
        path.write_bytes(whole[:-missing])
        assert reason(path) == "truncated"
