"""Hooks of MkDocs: whole links, pages about the public names, and no request to other servers.

Pages in `docs/` link to other files of the repository, as they do where the code is hosted. The
site gets a copy of every file that is linked to, so it needs no address of the repository.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import selena
from publish.links import replace_links

ROOT = Path(__file__).resolve().parents[1]

KINDS = {
    "Audits and reports": ("auditing", "models", "reports"),
    "Attacks": ("attacks",),
    "Defenses": ("defenses",),
    "scikit-learn": ("sklearn",),
    "Data": ("data", "types"),
    "Networks and training": ("networks", "training", "workspace", "tracking", "experiments"),
    "Errors": ("errors",),
}
"""Headings of the reference, and the parts of the package whose public names stand under each."""

_LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
                     r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect))"
                     r"[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>")  # fmt: skip


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages about public names to the navigation, and the repository's address if known."""
    pages = [{kind: f"api/{_slug(kind)}.md"} for kind in _names_by_kind()]
    assert config.nav is not None
    config.nav.insert(-1, {"API reference": pages})
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if repository := settings["tool"]["selena"]["repository"]:
        # Not `repo_url`: the theme would ask the host about it on every visit.
        icon = {"icon": "fontawesome/brands/git-alt", "link": repository, "name": "Repository"}
        config.extra["social"] = [icon]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference, and every file outside of `docs/` that a page links to."""
    for kind, modules in _names_by_kind().items():
        text = f"# {kind}\n\n" + "\n".join(_reference(*each) for each in modules.items())
        files.append(File.generated(config, f"api/{_slug(kind)}.md", content=text))
    queue = [file for file in files if file.src_uri.endswith(".md")]
    queue += _add(files, config, ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
    while queue:
        page = queue.pop()
        queue += _add(files, config, _targets(page.content_string, _source(page.src_uri)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links as they are in the repository into links within the site."""
    here = page.file.src_uri

    def within_site(image: bool, words: str, target: str) -> str:
        path, hash_, anchor = target.partition("#")
        site = _site(_resolve(path, _source(here)))
        if files.get_file_from_path(site) is None and (ROOT / _source(site)).is_dir():
            return words
        link = posixpath.relpath(site, posixpath.dirname(here) or ".")
        return f"{'!' * image}[{words}]({link}{hash_}{anchor})"

    return replace_links(markdown, within_site)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that loads anything from another server."""
    if found := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from another server: {found[0]}")
    return output


def _names_by_kind() -> dict[str, dict[str, list[str]]]:
    """Return the public names by the module that defines them, by kind."""
    found: dict[str, dict[str, list[str]]] = {kind: {} for kind in KINDS}
    for name, home in sorted(selena._HOME.items(), key=lambda item: item[::-1]):
        part = home.partition(".")[0]
        (kind,) = (kind for kind, parts in KINDS.items() if part in parts)
        found[kind].setdefault(_defined_in(f"selena.{home}", name), []).append(name)
    return {kind: modules for kind, modules in found.items() if modules}


def _defined_in(home: str, name: str) -> str:
    """Return the module whose docstring is about `name`; a package only hands names on."""
    package = ROOT / "src" / home.replace(".", "/") / "__init__.py"
    if not package.is_file():
        return home
    (module,) = (
        statement.module
        for statement in ast.parse(package.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ImportFrom) and name in [each.name for each in statement.names]
    )
    assert module is not None
    return _defined_in(module, name)


def _reference(module: str, names: list[str]) -> str:
    """Return what mkdocstrings shows: a module's docstring, which has the sources, and names."""
    options = {"members": names, "show_root_full_path": True}
    return f"::: {module}\n    options: {json.dumps(options)}\n"


def _slug(kind: str) -> str:
    return kind.lower().replace(" ", "-")


def _add(files: Files, config: MkDocsConfig, paths: list[str]) -> Iterator[File]:
    """Add the files that are there and not yet in the site, and yield those that have links."""
    for path in paths:
        site, there = _site(path), ROOT / path
        if there.is_file() and files.get_file_from_path(site) is None:
            files.append(file := File.generated(config, site, abs_src_path=str(there)))
            if path.endswith(".md"):
                yield file


def _targets(markdown: str, source: str) -> list[str]:
    """Return the files of the repository that a page links to."""
    found: list[str] = []

    def note(image: bool, words: str, target: str) -> str:
        found.append(_resolve(target.partition("#")[0], source))
        return words

    replace_links(markdown, note)
    return found


def _resolve(target: str, source: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _site(path: str) -> str:
    """Return where a file of the repository is in the site."""
    return path.removeprefix("docs/")


def _source(site: str) -> str:
    """Return where a file of the site is in the repository."""
    return f"docs/{site}" if (ROOT / "docs" / site).is_file() or site.startswith("api/") else site
