"""`make gpu-test`: what must be true on a machine with an NVIDIA GPU, in one command, one table and one JSON file."""
