"""Video into the slot of the newest frame: one process a source, and no queue of old frames anywhere."""
