"""Refuse a release whose version, date or address is not settled everywhere.

python -m publish.ready v1.0.0
"""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def disagreements(root: Path) -> list[str]:
    """Return where the version or its date is told differently, a sentence for each place."""
    version = runpy.run_path(str(root / "src/selena/environment/version.py"))["__version__"]
    found = []
    dated = re.search(r"^## \[(\d\S*)\] - (\S+)$", _read(root / "CHANGELOG.md"), re.MULTILINE)
    newest, date = dated.groups() if dated else (None, None)
    if newest != version:
        found.append(f"The newest release of CHANGELOG.md is {newest}, not {version}.")
    citation = _read(root / "CITATION.cff")
    for line in (f"version: {version}", f"date-released: {date}"):
        if line not in citation.splitlines():
            found.append(f"CITATION.cff has no line `{line}`.")
    wheel = f"selena_privacy-{version}-py3-none-any.whl"
    for name in ("README.md", "docs/index.md", "examples/github-actions-gate.yml"):
        if wheel not in _read(root / name):
            found.append(f"{name} does not install {wheel}.")
    return found


def main() -> None:
    """Exit with what stands in the way of releasing the tag, if anything does."""
    (tag,) = sys.argv[1:]
    found = disagreements(ROOT)
    version = runpy.run_path(str(ROOT / "src/selena/environment/version.py"))["__version__"]
    if tag != f"v{version}":
        found.append(f"The tag is {tag}; src/selena/environment/version.py says {version}.")
    if not tomllib.loads(_read(ROOT / "pyproject.toml"))["tool"]["selena"]["repository"]:
        found.append("`repository` under [tool.selena] in pyproject.toml is empty.")
    if found:
        raise SystemExit("\n".join(found))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
