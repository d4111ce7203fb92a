"""From an image to a network's input, as the card's recipe says. Pure."""

from edge_runtime.preprocess.expect import compile_expectation
from edge_runtime.preprocess.prepare import Prepare, compile_recipe

__all__ = ["Prepare", "compile_expectation", "compile_recipe"]
