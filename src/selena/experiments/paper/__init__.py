"""Reproduces the paper's table and figures: plans, runs, and files with the published figures."""
