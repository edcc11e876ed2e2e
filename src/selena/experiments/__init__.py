"""Experiments: settings, training, attacks, run folders, and the paper's tables and figures."""
