"""Experiments in other people's trackers; each needs an extra and is off unless asked for."""
