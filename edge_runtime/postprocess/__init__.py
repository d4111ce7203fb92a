"""From a network's output to answers on the source's grid, as the card says. Pure."""

from edge_runtime.postprocess.decode import Decode, compile_decoder

__all__ = ["Decode", "compile_decoder"]
