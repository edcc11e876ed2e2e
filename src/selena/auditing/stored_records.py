"""The finding of an audit about training records that are stored inside a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

Made = TypeVar("Made")


@dataclass(frozen=True)
class StoredPart:
    """A part of a model that stores records.

    Attributes:
        where: path to it from the model, such as "steps[1][1]._fit_X".
        kind: class of the object that holds it.
        rows: number of rows that it holds.
        equal: number of given records among them; None if none were given.
        by_kind: whether parts of this kind always store training records.
    """

    where: str
    kind: str
    rows: int
    equal: int | None
    by_kind: bool


@dataclass(frozen=True, kw_only=True)
class StoredRecords:
    """The result of `find_stored_records`.

    Attributes:
        model: class of the model.
        parts: parts that store records; none in a model that passes.
        records: number of records searched for; None if only kinds were checked.
        found: number of these records in the model.
    """

    model: str
    parts: tuple[StoredPart, ...]
    records: int | None
    found: int | None

    @property
    def passes(self) -> bool:
        """Whether these checks found no stored records."""
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
        """Return plain values from which `of` rebuilds an equal object."""
        return asdict(self)

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> StoredRecords:
        """Return the object that `to_json` described."""
        parts = tuple(_made(StoredPart, part) for part in described["parts"])
        return _made(cls, {**described, "parts": parts})


def _made(kind: type[Made], described: Mapping[str, Any]) -> Made:
    return kind(**{name: described[name] for name in kind.__annotations__})
