"""From a float32 network to INT8 or FP16: one calibration pass, two kinds of INT8, what a parser would get wrong."""
