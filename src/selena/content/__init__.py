"""Content of records: digests, equality, near-duplicates, and draws that depend on content only.

`digests` compares records of any kind, `keyed` compares records of networks (as float32 tensors),
and `non_models` compares records of estimators (as float32 rows, dense or sparse).
`near_duplicates` finds records that are nearly equal.
"""
