"""Cards, passports and the verification of built engines."""
