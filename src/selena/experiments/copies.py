"""Warns of test records that are copies, or near copies, of training records."""

from __future__ import annotations

import logging

from selena.content.digests import digests
from selena.types import AuditSplit

# Below this share of the test set, repeated records change figures less than chance.
_MANY_COPIES = 0.01

_LOG = logging.getLogger(__name__)


def warn_of_copies(split: AuditSplit) -> None:
    """Log a warning if scored non-members have the content of members."""
    known, others = set(digests(split.train.x)), digests(split.evaluation.non_members.x)
    copies = sum(digest in known for digest in others)
    if copies > _MANY_COPIES * len(others):
        _LOG.warning(
            "%d of %d test non-members are copies of members. No attack can distinguish these, so "
            "the leak is underestimated. Drop repeated records first.",
            copies,
            len(others),
        )
