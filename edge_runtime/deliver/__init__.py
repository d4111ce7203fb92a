"""Destinations and the policy of delivery: what is sent, how often it is tried, and what an answer means."""
