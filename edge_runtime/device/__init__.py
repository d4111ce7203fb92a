"""Streams, events and memory of the device that runs the networks."""
