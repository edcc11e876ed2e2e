from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from selena.files import atomic_path, file_sha256, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == target.parent  # os.replace is atomic on one file system only
        assert not target.exists()
    assert names(target.parent) == ["a.txt"]
    assert target.read_text() == "whole"


def test_a_failed_block_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"

    def fail_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert names(tmp_path) == []

    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert names(tmp_path) == ["a.txt"]
    assert target.read_text() == "old"


def test_json_is_sorted_and_ends_with_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [0.5, None]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"a": [0.5, None], "b": 1}
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text() == "1\n"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256_of_every_block_boundary(tmp_path: Path, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / "a").write_bytes(content[:size])
    assert file_sha256(tmp_path / "a") == sha256(content[:size]).hexdigest()


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "ε ≤ 1")
    assert (tmp_path / "a").read_bytes() == "ε ≤ 1".encode()
