"""What the daemon is measured against: DCMTK, plain pynetdicom, and a day's script."""
