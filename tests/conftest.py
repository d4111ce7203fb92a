"""What every test shares."""

import os
import signal

from hypothesis import settings

# A runner in the background may have been started with Ctrl-C ignored, and its children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No time limit an example: these machines are busy. In CI the examples are the same each time.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")
