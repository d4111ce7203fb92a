"""Metrics, logs and health: what the outside may see of a running daemon. Never patient data."""
