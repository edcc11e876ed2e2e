"""Changes valid files a little: bytes anywhere, or what lies inside an archive or a table."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pyarrow as pa
from pyarrow import parquet

Mutator = Callable[[bytes, Random], bytes]

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
WORDS = (
    *b'NA nan inf -inf 1e999 1_2 0x10 -1 1.5 true True \'\' "" " , ; . \n \r \t'.split(b" "),
    *b"\0 \xff \xed\xa0\x80 \xef\xbb\xbf [ ] { } ( ) = # % > < >= -0 1e-400".split(b" "),
    b"9" * 32,
)


def mutated(content: bytes, random: Random, words: Sequence[bytes] = WORDS) -> bytes:
    """Return content with one to four changes of its bytes."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        place = random.randrange(len(data) + 1)
        end = min(len(data), place + random.choice((1, 1, 2, 8, 64, 512)))
        match random.randrange(8):
            case 0 if place < len(data):
                data[place] ^= 1 << random.randrange(8)
            case 1 if place < len(data):
                data[place] = random.choice(NUMBERS) & 0xFF
            case 2:
                del data[place:end]
            case 3:
                data[place:place] = data[place:end]
            case 4:
                data[place:place] = random.choice(words)
            case 5:
                form = random.choice(("<I", ">I", "<Q", ">Q", "<H"))
                number = random.choice(NUMBERS) % 256 ** struct.calcsize(form)
                data[place : place + struct.calcsize(form)] = struct.pack(form, number)
            case 6 if random.random() < 0.2:
                del data[place:]
            case _:
                other = random.randrange(len(data) + 1)
                data[place:end] = data[other : other + end - place]
    return bytes(data)


def header(content: bytes, random: Random) -> bytes:
    """Change what describes the tensors of a safetensors file, or any bytes."""
    if random.random() < 0.4:
        return mutated(content, random)
    end = 8 + int.from_bytes(content[:8], "little")
    changed = mutated(content[8:end], random)
    return len(changed).to_bytes(8, "little") + changed + content[end:]


def zip_member(content: bytes, random: Random) -> bytes:
    """Change one file in a zip archive, or drop or double it; or the archive itself."""
    if random.random() < 0.2:
        return mutated(content, random)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [(name, archive.read(name)) for name in archive.namelist()]
    place = random.randrange(len(files))
    name, inside = files[place]
    choice = random.random()
    if choice < 0.35:  # the array's description
        files[place] = (name, mutated(inside[:128], random) + inside[128:])
    elif choice < 0.7:
        files[place] = (name, inside[:128] + mutated(inside[128:], random))
    elif choice < 0.9:
        stream = io.BytesIO()
        np.save(stream, strange_array(random))
        files[place] = (name, stream.getvalue())
    else:
        del files[place]
    stream, method = io.BytesIO(), random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(stream, "w") as archive:
        for name, inside in files:
            archive.writestr(zipfile.ZipInfo(name), inside, method)
    return stream.getvalue()


def strange_array(random: Random) -> np.ndarray:
    """Return an array of a shape or type that no reader hopes for."""
    numbers, others = ("?", "i1", ">i8", "u8", "f2", ">f4", "f8", "g"), ("c8", "U3", "S2", "O")
    kinds = (*numbers, *others, "M8[s]", "m8[D]", "U0", "V0")
    shape = random.choice(((), (0,), (1,), (40,), (40, 1), (40, 2), (2, 40), (40, 2, 1), (0, 2)))
    array = np.zeros(shape, dtype=random.choice((*kinds, [("a", "f4")])))
    if array.dtype.kind in "iufc" and random.random() < 0.5:
        array[...] = random.choice((1, 0.5, np.nan, np.inf)) if array.dtype.kind in "fc" else 1
    return array


def tar_member(content: bytes, random: Random) -> bytes:
    """Change one file in a .tar.gz archive, or how it is listed; or the archive itself."""
    choice = random.random()
    if choice < 0.1:
        return mutated(content, random)
    plain = gzip.decompress(content)
    if choice < 0.3:
        return gzip.compress(mutated(plain, random), 1, mtime=0)
    stream = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(plain)) as tar,
        gzip.GzipFile(fileobj=stream, mode="w", compresslevel=1, mtime=0) as packed,
    ):
        entries = tar.getmembers()
        chosen = random.randrange(len(entries))
        with tarfile.open(fileobj=packed, mode="w|") as new:
            for place, entry in enumerate(entries):
                file = tar.extractfile(entry)
                assert file is not None
                inside = file.read()
                if place == chosen and choice < 0.9:
                    inside = mutated(inside, random)
                    entry.size = len(inside)
                elif place == chosen:
                    entry.type = random.choice((tarfile.SYMTYPE, tarfile.DIRTYPE, b"S", b"3", b"6"))
                    entry.linkname = "/etc/passwd"
                new.addfile(entry, io.BytesIO(inside))
    return stream.getvalue()


def csv_cell(content: bytes, random: Random) -> bytes:
    """Change a cell of a CSV file, a row, or all of its separators; or any bytes."""
    if random.random() < 0.3:
        return mutated(content, random)
    rows = [row.split(b",") for row in content.split(b"\n")]
    for _ in range(random.choice((1, 1, 3))):
        row = rows[random.choice((0, random.randrange(len(rows))))]
        place = random.randrange(len(row))
        match random.randrange(5):
            case 0:
                row.pop(place)
                rows.append([b""])
            case 1:
                row.insert(place, random.choice(WORDS))
            case 2:
                row[place] = b'"' + row[place] + random.choice((b"\n", b'""', b"\r", b"")) + b'"'
            case _:
                row[place] = random.choice(WORDS)
        rows = [row or [b""] for row in rows]
    separator = b"," if random.random() < 0.95 else random.choice((b";", b"\t", b" "))
    return random.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r")).join(map(separator.join, rows))


def parquet_column(content: bytes, random: Random) -> bytes:
    """Change a column of a Parquet file into one of another type, or the file's bytes."""
    if random.random() < 0.5:
        return mutated(content, random)
    table = parquet.read_table(io.BytesIO(content))
    place, n = random.randrange(table.num_columns), table.num_rows
    column = random.choice(
        (
            lambda: pa.array([None] * n, pa.dictionary(pa.int32(), pa.string())),
            lambda: pa.nulls(n),
            lambda: pa.array([[1], [1, 2]] * (n // 2)),
            lambda: pa.array([{"a": 1}] * n),
            lambda: pa.array(["\udc80".encode("utf-8", "surrogatepass")] * n, pa.binary()),
            lambda: pa.array(["x", "NA"] * (n // 2)),
            lambda: pa.array(["x", "y"] * (n // 2)).dictionary_encode(),
            lambda: pa.array([2**63] * n, pa.uint64()),
            lambda: pa.array(np.full(n, np.nan, np.float16)),
            lambda: pa.array([10**30] * n, pa.decimal128(38, 2)),
            lambda: pa.array(np.zeros(n, "M8[ms]")),
            lambda: pa.array([True, None] * (n // 2)),
            lambda: pa.array([1, 2] * (n // 2), pa.int8()).dictionary_encode(),
        )
    )()
    name = random.choice((*table.column_names, "", "a.b", "p2", "__index_level_0__"))
    columns, names = list(table.columns), list(table.column_names)
    columns[place] = column
    names[random.choice((place, place, random.randrange(len(names))))] = name
    stream = io.BytesIO()
    rebuilt = pa.Table.from_arrays(columns, names=names)
    try:
        parquet.write_table(rebuilt, stream, compression=random.choice(("none", "snappy", "zstd")))
    except pa.ArrowException:  # what cannot be written need not be read
        return mutated(content, random)
    return stream.getvalue()
