"""Benchmarks: each compares scores or weights before it reports a time."""
