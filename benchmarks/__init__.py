"""The latency suite: scenarios, peers, the demo, and what they share."""
