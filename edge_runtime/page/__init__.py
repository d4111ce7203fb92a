"""The HTTP server of the daemon and the status page: what a person may see of it. Never patient data."""
