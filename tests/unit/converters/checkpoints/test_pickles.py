"""A pickle gives weights, or nothing at all is run and the name that it asked for is said."""

import pickle
from argparse import Namespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.checkpoints import card_of, harmful
from support.tiny_torch import classifier, saved

from converters.checkpoints import load_checkpoint
from converters.checkpoints.pickles import asked_for, names_in
from edge_runtime.errors import EngineRejected


def test_a_pickle_that_would_make_a_file_is_refused_by_the_name_that_it_asks_for(tmp_path):
    victim = tmp_path / "made-by-a-pickle"
    card = card_of(tmp_path, "state_dict")
    for what, data in harmful(victim).items():
        with pytest.raises(EngineRejected, match=r"asks for posix\.system") as refused:
            load_checkpoint(card, data, tmp_path)
        assert "nothing was run" in str(refused.value), what
    assert not victim.exists()


def test_a_whole_network_is_refused_with_the_way_to_save_its_weights(tmp_path):
    with pytest.raises(EngineRejected, match=r"tiny_torch\.Classifier.*torch\.save\(network\.state_dict\(\)"):
        load_checkpoint(card_of(tmp_path, "state_dict"), saved(classifier()), tmp_path)


def test_settings_beside_the_weights_are_refused_by_name(tmp_path):
    content = {"state_dict": classifier().state_dict(), "hyper_parameters": Namespace(lr=1)}
    with pytest.raises(EngineRejected, match=r"asks for argparse\.Namespace"):
        load_checkpoint(card_of(tmp_path, "state_dict"), saved(content), tmp_path)


def test_a_pickle_of_a_newer_protocol_is_named_as_that(tmp_path):
    data = saved(classifier().state_dict(), pickle_protocol=4)
    with pytest.raises(EngineRejected, match="pickle of protocol 4"):
        load_checkpoint(card_of(tmp_path, "state_dict"), data, tmp_path)


@pytest.mark.parametrize("protocol", range(6))
def test_names_are_found_in_every_protocol(protocol):
    assert set(names_in(pickle.dumps([Namespace, Namespace, torch.Size], protocol=protocol))) == {
        "argparse.Namespace",
        "torch.Size",
    }


def test_weights_ask_for_nothing():
    assert not list(asked_for(saved(classifier().state_dict())))
    assert not list(asked_for(saved(classifier().half().state_dict(), _use_new_zipfile_serialization=False)))


@given(st.binary(max_size=200))
def test_names_of_any_bytes_are_found_without_an_error(data):
    list(asked_for(data))
    list(asked_for(b"\x80\x04" + data))
