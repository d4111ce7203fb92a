"""What becomes of the results of live frames: the picture with overlay, lines in a file, MQTT, a recording."""
