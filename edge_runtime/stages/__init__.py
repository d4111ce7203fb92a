"""The stages of a pipeline: conditions, regions, failures, and what they add up to."""
