"""Data: loading records, and splitting them for an audit."""

from __future__ import annotations

from selena.data.load import DATASETS, data_digest, load
from selena.data.split import Partition, audit_split

__all__ = ["DATASETS", "Partition", "audit_split", "data_digest", "load"]
