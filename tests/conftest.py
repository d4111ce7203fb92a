"""What every test shares."""

import os

from hypothesis import settings

# No time limit an example: these machines are busy. In CI the examples are the same each time.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")
