"""What the scenarios of live video share: networks, frames, the process under test, and the bare peer."""
