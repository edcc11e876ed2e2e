"""What a record is, told by its content: digests, equality, and draws that follow it.

`digests` compares records of any kind, `keyed` those of networks, as float32 tensors, and
`non_models` those of estimators, as float32 rows, dense or sparse. `near_duplicates` finds records
that are nearly equal.
"""
