"""CSV files with a header, in UTF-8: read by Arrow, and once more by hand to name what is wrong."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from selena.data.cells import as_number, is_truth, listed, shown
from selena.data.table_file import Cells, join_words
from selena.errors import DataError
from selena.reading import Limits, border, described

_BLOCK = 1 << 24  # bytes that Arrow parses at once; no row may be longer
_NO_CSV = "this is no CSV text in UTF-8"
_SEPARATORS = {";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class CsvFile:
    """A comma-separated UTF-8 file; see `TableFile`.

    Attributes:
        path: the file.
        names: of all columns, in order.
        header: number of lines that the header takes.
        first: cells of the first record, empty where there is none.
    """

    path: Path
    names: tuple[str, ...]
    header: int
    first: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> CsvFile:
        """Read the header.

        Raises:
            DataError: the file is empty or no such text, or its cells are not separated by commas.
        """
        with border(path, _NO_CSV), _text(path) as stream:
            reader = csv.reader(_lines(stream, path))
            names = tuple(name.strip() for name in next(reader, []))
            header = reader.line_num
            if not any(names):
                raise DataError(
                    f"{path}: the file is empty. Give a header and at least one record."
                )
            first = next((tuple(record) for record in reader if record), ())
        if not all(map(_is_text, names)):
            raise DataError(f"{path}: {_NO_CSV}. Save it as UTF-8.")
        for separator, called in _SEPARATORS.items():
            if sum(name.count(separator) for name in names) >= len(names):
                raise DataError(
                    f"{path}: its cells are separated by {called} (the columns are "
                    f"{listed(list(names))}). Save it with commas between cells and points in "
                    f"numbers: pandas.read_csv(path, sep={separator!r}, decimal=',')"
                    ".to_csv(path, index=False)."
                )
        return cls(path, names, header, first)

    def read(
        self, numbers: Sequence[int], words: Sequence[int], kind: type[np.floating[Any]]
    ) -> Cells:
        """See `TableFile`."""
        return self._read_fast(numbers, words, kind) or self._read_careful(numbers, words, kind)

    def row(self, index: int) -> int:
        """Return the line on which record `index` begins."""
        with _text(self.path) as stream:
            for number, (row, _) in enumerate(self._records(stream)):
                if number == index:
                    return row
        raise IndexError(index)

    def _read_fast(
        self, numbers: Sequence[int], words: Sequence[int], kind: type[np.floating[Any]]
    ) -> Cells | None:
        """Read by Arrow; None where anything needs a closer look."""
        import pyarrow as pa
        from pyarrow import csv as arrow

        if len(self.first) != len(self.names):
            return None
        truths = {place for place in numbers if is_truth(self.first[place])}
        texts, wanted = {*words, *truths}, [*numbers, *words]
        as_text = pa.dictionary(pa.int32(), pa.string())
        try:
            reader = arrow.open_csv(
                self.path,
                arrow.ReadOptions(
                    column_names=list(map(str, range(len(self.names)))),
                    skip_rows=self.header,
                    block_size=_BLOCK,
                ),
                arrow.ParseOptions(newlines_in_values=True),
                arrow.ConvertOptions(
                    include_columns=list(map(str, wanted)),
                    column_types={
                        str(place): as_text if place in texts else pa.float64() for place in wanted
                    },
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            blocks: list[NDArray[Any]] = []
            found: list[list[NDArray[Any]]] = [[] for _ in words]
            for batch in reader:
                if any(column.null_count for column in batch.columns):
                    return None
                block = np.empty((batch.num_rows, len(numbers)), dtype=kind)
                with np.errstate(over="ignore"):  # what is infinite is refused with its row later
                    for place, column in enumerate(batch.columns[: len(numbers)]):
                        block[:, place] = (
                            _decoded(column, as_number) if numbers[place] in truths else column
                        )
                blocks.append(block)
                for part, column in zip(found, batch.columns[len(numbers) :], strict=True):
                    part.append(_decoded(column, str.strip))
        except (pa.ArrowException, ValueError, OSError):
            return None
        texts_found = [join_words(part, str(self.path)) for part in found]
        if any(len(part) and not np.char.str_len(part).all() for part in texts_found):
            return None
        empty = np.empty((0, len(numbers)), dtype=kind)
        return Cells(np.concatenate([empty, *blocks]), texts_found, self.row)

    def _read_careful(
        self, numbers: Sequence[int], words: Sequence[int], kind: type[np.floating[Any]]
    ) -> Cells:
        """Read cell by cell: what the standard library reads, with the place of an error."""
        cells = array("d")
        found: list[list[str]] = [[] for _ in words]
        with border(self.path, _NO_CSV), _text(self.path) as stream:
            for row, record in self._records(stream):
                where = f"{self.path}, row {row}"
                if len(record) != len(self.names):
                    raise self._ragged(where, len(record))
                for part, place in zip(found, words, strict=True):
                    part.append(record[place].strip())
                    if not part[-1]:
                        raise DataError(
                            f"{where}, column {self.names[place]!r}: the cell is empty. Fill it "
                            "in or drop the row."
                        )
                    if not _is_text(part[-1]):
                        raise DataError(f"{where}: {_NO_CSV}. Save it as UTF-8.")
                try:
                    cells.extend([as_number(record[place]) for place in numbers])
                except ValueError:
                    raise self._no_number(where, record, numbers) from None
        values = np.frombuffer(cells, np.float64).reshape(-1, max(len(numbers), 1))
        count = len(found[0]) if found else len(values)
        with np.errstate(over="ignore"):
            matrix = values.astype(kind) if numbers else np.empty((count, 0), kind)
        texts = [join_words([np.array(part, object)], str(self.path)) for part in found]
        return Cells(matrix, texts, self.row)

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
            end = reader.line_num + 1  # a quoted cell may go over several lines
            if record:
                yield row, record

    def _ragged(self, where: str, cells: int) -> DataError:
        fix = "Give every row the same number of cells."
        if len(self.first) == len(self.names) + 1:
            fix = (
                "If each row begins with its name, as R writes it, give these names a header: "
                "write.csv does, and write.table with col.names=NA."
            )
        return DataError(
            f"{where}: {cells} cells under a header of {len(self.names)} columns. {fix}"
        )

    def _no_number(self, where: str, record: list[str], numbers: Sequence[int]) -> DataError:
        """Say which of a row's features is the first that is no number."""
        place = next(place for place in numbers if not _is_number(record[place]))
        cell = record[place]
        said = f"{shown(cell)} is no number" if cell.strip() else "the cell is empty"
        fix = "Features must be numbers: encode categories (one-hot), fill or drop missing values."
        if _is_number(cell.replace(",", ".")):
            fix = "Write numbers with a decimal point."
        return DataError(f"{where}, column {self.names[place]!r}: {said}. {fix}")


def _text(path: Path) -> TextIO:
    # Cells that nobody reads may have any encoding: what is read is checked.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _lines(stream: TextIO, path: Path) -> Iterator[str]:
    """Yield the lines of a text, none of them too long."""
    limit, number = Limits.from_environment().line, 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise DataError(
                f"{path}, row {number}: the row has more than {limit:,} characters. If you trust "
                "the file, raise SELENA_MAX_LINE in the environment."
            )
        yield line


def _is_text(cell: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in cell)


def _is_number(cell: str) -> bool:
    try:
        as_number(cell)
    except ValueError:
        return False
    return True


def _decoded(column: Any, read: Any) -> NDArray[Any]:
    """Return a dictionary-encoded column, each distinct text read once."""
    values = np.array([read(text) for text in column.dictionary.to_pylist()] + [None], dtype=object)
    decoded: NDArray[Any] = values[column.indices.to_numpy(zero_copy_only=False)]
    return decoded
