"""What an audit says of training records that a model carries inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

Made = TypeVar("Made")


@dataclass(frozen=True)
class StoredPart:
    """A part of a model that keeps records.

    Attributes:
        where: path to it from the model, as "steps[1][1]._fit_X".
        kind: the class that holds it.
        rows: number of rows that it holds.
        equal: how many of the given records are among them; None where none were given.
        by_kind: whether it keeps training records by construction.
    """

    where: str
    kind: str
    rows: int
    equal: int | None
    by_kind: bool


@dataclass(frozen=True, kw_only=True)
class StoredRecords:
    """What `find_stored_records` found.

    Attributes:
        model: class of the model.
        parts: parts that keep records; none in a model that passes.
        records: number of records that were looked for; None where only kinds were looked at.
        found: how many of them are in the model.
    """

    model: str
    parts: tuple[StoredPart, ...]
    records: int | None
    found: int | None

    @property
    def passes(self) -> bool:
        """Whether no part of the model keeps records, as far as these checks see."""
        return not self.parts

    def __str__(self) -> str:
        if self.passes:
            looked = (
                "by kind" if self.records is None else f"by kind, and for {self.records:,} rows"
            )
            return f"{self.model} passes: no stored record was found ({looked})."
        lines = [f"{self.model} fails: it contains training records. Do not release it."]
        for part in self.parts:
            equal = "" if part.equal is None else f", {part.equal:,} of the records given"
            lines.append(f"  {part.where} ({part.kind}): {part.rows:,} rows{equal}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return what `of` makes an equal one from."""
        return asdict(self)

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> StoredRecords:
        """Return what `to_json` described."""
        parts = tuple(_made(StoredPart, part) for part in described["parts"])
        return _made(cls, {**described, "parts": parts})


def _made(kind: type[Made], described: Mapping[str, Any]) -> Made:
    return kind(**{name: described[name] for name in kind.__annotations__})
