"""Defenses: one file per paper, each a frozen dataclass of hyperparameters with `fit`."""
