"""Load on a system, as MLPerf Inference's LoadGen makes it; it knows arrivals, and nothing of models."""
