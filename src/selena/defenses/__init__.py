"""Defenses: one file a paper, each a frozen dataclass of hyperparameters with `fit`."""
