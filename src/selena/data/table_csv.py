"""Reads CSV files with a header, in UTF-8, by Arrow; rows that Arrow refuses are explained here."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from selena.data.cells import listed
from selena.data.table_file import TableFile
from selena.errors import DataError
from selena.files.reading import Limits, border, described

_NO_CSV = "this is no CSV text in UTF-8"
_SEPARATORS = {";": "semicolons", "\t": "tabs"}
_LARGEST_BLOCK = (1 << 31) - 1  # bytes that Arrow can parse at once
# Block size in bytes, and in header lengths. Arrow holds dozens of blocks in memory, and each
# column of a block costs a fixed time.
_BLOCK, _HEADERS = 1 << 20, 1 << 14


@dataclass(frozen=True)
class CsvFile(TableFile):
    """A comma-separated UTF-8 file; a record's row is its first line, counted from the header (1).

    Attributes:
        header: number of lines that the header takes.
    """

    header: int

    @classmethod
    def open(cls, path: Path) -> CsvFile:
        """Read the header.

        Raises:
            DataError: the file is empty, is no UTF-8 text, or does not separate cells by commas.
        """
        with border(path, _NO_CSV), _text(path) as stream:
            reader = csv.reader(_lines(stream, path))
            names = tuple(name.strip() for name in next(reader, []))
            header = reader.line_num
        if not any(names):
            raise DataError(f"{path}: the file is empty. Give a header and at least one record.")
        if not all(map(_is_unicode, names)):
            raise DataError(f"{path}: {_NO_CSV}. Save it as UTF-8.")
        for separator, called in _SEPARATORS.items():
            if sum(name.count(separator) for name in names) >= len(names):
                raise DataError(
                    f"{path}: its cells are separated by {called} (the columns are "
                    f"{listed(list(names))}). Save it with commas between cells and points in "
                    f"numbers: pandas.read_csv(path, sep={separator!r}, decimal=',')"
                    ".to_csv(path, index=False)."
                )
        return cls(path, names, header)

    def row(self, index: int) -> int:
        """Return the line on which record `index` begins."""
        with _text(self.path) as stream:
            for number, (row, _) in enumerate(self._records(stream)):
                if number == index:
                    return row
        raise IndexError(index)

    def _batches(self, numbers: Sequence[int], words: Sequence[int]) -> Iterator[Any]:
        import pyarrow as pa

        wanted = list(map(str, (*numbers, *words)))
        most = min(Limits.from_environment().line, _LARGEST_BLOCK)
        usual = min(most, max(_BLOCK, _HEADERS * sum(map(len, self.names))))
        done = 0
        for size in (usual, most):  # a row longer than a block needs a larger block
            seen = 0
            try:
                for batch in self._parsed(wanted, size):
                    fresh = batch.slice(max(0, done - seen))
                    seen += batch.num_rows
                    if len(fresh):
                        done = seen
                        yield pa.RecordBatch.from_arrays(
                            list(map(_stripped, fresh.columns)), wanted
                        )
                return
            except (pa.ArrowException, OSError) as error:
                if size == most:
                    self._explain(error, (*numbers, *words))
                    return

    def _parsed(self, wanted: Sequence[str], block_size: int) -> Any:
        """Return Arrow's batches of the columns at these places, all of text."""
        import pyarrow as pa
        from pyarrow import csv as arrow

        return arrow.open_csv(
            self.path,
            arrow.ReadOptions(
                column_names=list(map(str, range(len(self.names)))),
                skip_rows=self.header,
                block_size=block_size,
            ),
            arrow.ParseOptions(newlines_in_values=True),
            arrow.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
            ),
        )

    def _explain(self, error: Exception, places: Iterable[int]) -> None:
        """Raise `DataError` for the first row that Arrow cannot read.

        Do nothing if there is no such row, as in a file without records.
        """
        row = 0
        with border(self.path, _NO_CSV), _text(self.path) as stream:
            for before, (row, record) in enumerate(self._records(stream)):
                where = f"{self.path}, row {row}"
                if len(record) != len(self.names):
                    fix = "Give every row the same number of cells."
                    if not before and len(record) == len(self.names) + 1:
                        fix = (
                            "If each row begins with its name, as R writes it, give these names a "
                            "header: write.csv does, and write.table with col.names=NA."
                        )
                    raise DataError(
                        f"{where}: {len(record)} cells under a header of {len(self.names)} "
                        f"columns. {fix}"
                    )
                if not all(_is_unicode(record[place]) for place in places):
                    raise DataError(f"{where}: {_NO_CSV}. Save it as UTF-8.")
        if row:
            raise DataError(f"{self.path}: {_NO_CSV} ({described(error)}).") from error

    def _records(self, stream: TextIO) -> Iterator[tuple[int, list[str]]]:
        """Yield each record with the line on which it begins."""
        reader = csv.reader(_lines(stream, self.path))
        next(reader)
        end = self.header + 1
        while True:
            row = end
            try:
                record = next(reader, None)
            except csv.Error as error:
                raise DataError(
                    f"{self.path}, row {row}: {_NO_CSV} ({described(error)})."
                ) from error
            if record is None:
                return
            end = reader.line_num + 1  # a quoted cell may have several lines
            if record:
                yield row, record


def _text(path: Path) -> TextIO:
    # Only cells that are used must be UTF-8; they are checked later.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _lines(stream: TextIO, path: Path) -> Iterator[str]:
    """Yield the lines of a text; raise `DataError` for one that is too long."""
    limit, number = Limits.from_environment().line, 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise DataError(
                f"{path}, row {number}: the row has more than {limit:,} characters. If you trust "
                "the file, raise SELENA_MAX_LINE in the environment."
            )
        yield line


def _is_unicode(cell: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in cell)


def _stripped(column: Any) -> Any:
    """Return text without surrounding blanks; a cell of blanks becomes empty."""
    from pyarrow import compute

    text = compute.utf8_trim_whitespace(column)
    return compute.if_else(compute.equal(text, ""), None, text)
