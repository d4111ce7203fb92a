"""`edge-runtime doctor`: tests on the spot what an installation gets wrong. docs/doctor.md describes every check."""
