"""Inference libraries behind one asynchronous protocol."""
