"""Audits of anybody's model: from a model, its members and other records to a report."""

from selena.auditing.stored_records import StoredRecords
from selena.errors import AuditWarning
from selena.models.attribute_inference import AttributeReport, infer_attribute
from selena.models.files import read_records
from selena.models.other_outputs import audit_multilabel, audit_regression
from selena.models.pool import shared_rows
from selena.models.run import audit
from selena.models.stored_records import find_stored_records

__all__ = [
    "AttributeReport",
    "AuditWarning",
    "StoredRecords",
    "audit",
    "audit_multilabel",
    "audit_regression",
    "find_stored_records",
    "infer_attribute",
    "read_records",
    "shared_rows",
]
