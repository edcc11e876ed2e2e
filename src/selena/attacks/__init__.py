"""Membership inference attacks: each learns from known records and returns a scorer."""
