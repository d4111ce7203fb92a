"""What a file looks like is told from its content."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import models
from support.checkpoints import exported_program, torchscript
from support.tiny_torch import SHAPE, classifier, saved

from converters.checkpoints.kinds import kind_of


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", "", "empty"),
        (b"<!DOCTYPE html><html>", "", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\nrest", "", "HDF5"),
        (b"PK\x03\x04 and then nothing", "zip", "cut off"),
        (b"\x80\x02}q\x00.", "pickle", "pickle"),
        (b"cposix\nsystem\n", "pickle", "pickle"),
        (b"\x40\x00\x00\x00\x00\x00\x00\x00{", "safetensors", "cut off"),
        (b"just text", "", "no checkpoint"),
    ],
)
def test_a_file_that_is_something_else_is_named(data, kind, words):
    found, said = kind_of(data)
    assert found == kind and words in said


def test_each_format_is_told_from_the_others():
    assert kind_of(models.classifier(SHAPE))[0] == "onnx"
    assert kind_of(torchscript())[0] == "torchscript"
    assert kind_of(exported_program())[0] == "pt2"
    assert kind_of(saved(classifier().state_dict()))[0] == "pickle"
    assert kind_of(saved({}, _use_new_zipfile_serialization=False))[0] == "pickle"


@given(st.binary(max_size=64))
def test_any_bytes_are_something(data):
    assert kind_of(data)[1]
