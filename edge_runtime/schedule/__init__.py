"""Who runs when: what is decided before a stage of a live frame, and whose turn it is on the accelerator."""
