"""Logging to experiment trackers; each needs an extra and is off by default."""
