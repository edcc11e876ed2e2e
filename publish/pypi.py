"""The README as PyPI shows it, and the project's addresses.

Hatchling calls `Metadata` while it builds. The address of the repository is `repository` under
`[tool.selena]` in `pyproject.toml`.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

sys.path.insert(0, str(Path(__file__).parents[1]))  # Hatchling loads this file by its path
from publish.links import readme_for_pypi


class Metadata(MetadataHookInterface):
    """Fills in the fields `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write both fields into `metadata`."""
        root = Path(self.root)
        settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        repository = settings["tool"]["selena"]["repository"].rstrip("/")
        text = (root / "README.md").read_text(encoding="utf-8")
        text = readme_for_pypi(text, repository, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = {}
        if repository:
            changes = f"{repository}/blob/v{metadata['version']}/CHANGELOG.md"
            metadata["urls"] = {"Repository": repository, "Changelog": changes}
