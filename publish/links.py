"""Links in Markdown that lead to files of this repository."""

from __future__ import annotations

import re
from collections.abc import Callable

# Blocks and spans of code come first, since `f["a"](x)` in one of them is no link.
_CODE_OR_LINK = re.compile(
    r"^(?P<fence>`{3,}).*?^(?P=fence)`*$|(?P<tick>`+)(?!`)[^\n]*?(?<!`)(?P=tick)(?!`)"
    r"|(?P<image>!?)\[(?P<text>(?:`[^`\n]*`|[^\[\]`])*)\]\((?P<target>[^()\s]+)\)",
    re.MULTILINE | re.DOTALL,
)
_ELSEWHERE = re.compile(r"[a-z]+:|#", re.IGNORECASE)


def replace_links(text: str, replacement: Callable[[bool, str, str], str]) -> str:
    """Return Markdown whose links to files are replaced; other links and code stay.

    Args:
        text: Markdown.
        replacement: takes whether the link is an image, its text and its target, and returns
            what stands there instead.
    """

    def replaced(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or _ELSEWHERE.match(target):
            return match[0]
        return replacement(match["image"] == "!", match["text"], target)

    return _CODE_OR_LINK.sub(replaced, text)


def readme_for_pypi(text: str, repository: str, version: str) -> str:
    """Return the README with links that do not depend on where it is read.

    Args:
        text: of the README.
        repository: its address, without a slash at the end. While it is empty, links to files
            become their text, and images go.
        version: whose tag (`v1.0.0`) the links lead to.
    """

    def absolute(image: bool, words: str, target: str) -> str:
        if not repository:
            return "" if image else words
        kind = "raw" if image else "blob"
        return f"{'!' * image}[{words}]({repository}/{kind}/v{version}/{target})"

    return replace_links(text, absolute)
