"""Changed files reach no loader by anything but a clear error; `make fuzz` tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from selena.errors import SelenaError
from tests.fuzzing.loaders import LOADERS
from tests.fuzzing.run import changed_file, run


@pytest.mark.parametrize("name", LOADERS)
def test_unchanged_files_are_read(name: str, tmp_path: Path) -> None:
    loader = LOADERS[name]
    loader.prepare(tmp_path)
    for content in loader.seeds():
        (tmp_path / loader.file).write_bytes(content)
        loader.load(tmp_path / loader.file)


def test_an_input_has_a_number() -> None:
    assert changed_file("table csv", 7) == changed_file("table csv", 7)
    assert changed_file("table csv", 7) != changed_file("table csv", 8)


@pytest.mark.deep
def test_changed_files_are_read_or_refused() -> None:
    result = run(15 * len(LOADERS), list(LOADERS))
    assert result.faults == []
    assert sum(result.counts.values()) == 15 * len(LOADERS)


def test_faults_and_crashes_are_counted() -> None:
    names = ["good", "crashing", "refusing", "faulty"]
    result = run(8, names, jobs=1, module="tests.fuzzing.planted")
    kinds = {"good": "read", "crashing": "crash", "refusing": "refused", "faulty": "fault"}
    assert result.counts == dict.fromkeys(kinds.items(), 2)
    assert sum("faulty, input 3: fault KeyError: 'a fault'" in line for line in result.faults) == 1


def test_names_in_a_model_need_not_be_text(tmp_path: Path) -> None:
    path = tmp_path / LOADERS["onnx"].file
    path.write_bytes(LOADERS["onnx"].seeds()[0].replace(b"\x01x", b"\x01\xff"))  # its input's name
    with pytest.raises(SelenaError, match=r"no ONNX model, or a damaged one .*utf-8"):
        LOADERS["onnx"].load(path)
