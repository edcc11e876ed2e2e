"""Audits of anybody's model: from a model, its members and other records to a report."""

from selena.errors import AuditWarning
from selena.models.files import read_records
from selena.models.pool import shared_rows
from selena.models.run import audit

__all__ = ["AuditWarning", "audit", "read_records", "shared_rows"]
