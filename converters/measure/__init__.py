"""How good a network is: task metrics on labelled samples, the gate, errors and sensitivity of layers, latency."""
