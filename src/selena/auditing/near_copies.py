"""The finding of an audit about near copies among its records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NearCopies:
    """Numbers of records that have a near copy of another subject.

    Attributes:
        members: members with a near copy among the members.
        non_members: non-members with a near copy among the non-members.
        across_members: members with a near copy among the non-members.
        across_non_members: non-members with a near copy among the members.
        compared: number of different records that were compared; 0 if none were.
        reason: why none were compared; may be empty.
    """

    members: int = 0
    non_members: int = 0
    across_members: int = 0
    across_non_members: int = 0
    compared: int = 0
    reason: str = ""

    @property
    def any(self) -> bool:
        """Whether there is a near copy."""
        return self.members + self.non_members + self.across_members > 0

    def __str__(self) -> str:
        if self.reason:
            return f"Near copies were not counted: {self.reason}."
        if not self.any:
            return ""
        return (
            f"Near copies: {self.members:,} members and {self.non_members:,} non-members have one "
            f"on their side; {self.across_members:,} members and {self.across_non_members:,} "
            "non-members have one on the other."
        )
