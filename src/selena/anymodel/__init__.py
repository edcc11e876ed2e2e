"""Audits of anybody's model: from a model, its members and other records to a report."""

from selena.anymodel.files import read_records
from selena.anymodel.pool import shared_rows
from selena.anymodel.run import audit
from selena.errors import AuditWarning

__all__ = ["AuditWarning", "audit", "read_records", "shared_rows"]
