"""Escapes names from files and users for every output format, so that they are shown literally.

A name may contain line breaks, terminal sequences, marks that change the direction of writing, and
bytes that are no text. `printable` writes these as Python escapes; each other function adds the
escapes of one format.
"""

from __future__ import annotations

import re
import sys
from html import escape as _html_escape
from typing import Any

# Control characters (Cc), Unicode's line breaks, lone surrogates, marks that change the direction
# of writing or are invisible, and code points that are no characters.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufffe\uffff]"
)
_CONTROLS_OF_LINES = re.compile(f"(?![\t\n]){_CONTROLS.pattern}")
_XML_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_MARKDOWN = re.compile(r"[\\`*_\[\]|~$]|(?<=\s)#+$")
# Characters that would start a list, a heading or a rule.
_MARKDOWN_START = re.compile(
    r"^(\s*)([-+](?=\s|$)|[-=](?=[-=\s]*$)|#(?=#{0,5}(?:\s|$))|\d{1,9}(?=[.)](?:\s|$)))"
)
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        "–": "--",
        "±": r"$\pm$",
        # At the start of a table row, LaTeX would read these as an option of the row before.
        **{character: f"{{{character}}}" for character in "[]*"},
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def printable(text: str) -> str:
    """Return text in one line; invisible characters become Python escapes."""
    return _CONTROLS.sub(_as_escape, text)


def shorten(text: str, length: int) -> str:
    """Return text in one line of at most `length` characters, for reprs."""
    text = printable(text)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def printable_lines(text: str) -> str:
    """Return printable text like `printable`, but keep line breaks and tabs."""
    return _CONTROLS_OF_LINES.sub(_as_escape, text)


def markdown(text: str) -> str:
    """Return text that Markdown shows literally, in a line, a heading or a cell of a table."""
    text = _html_escape(printable(text), quote=False)
    text = _MARKDOWN.sub(lambda found: "\\" + found.group(), text)
    # Bare addresses would become links on many sites.
    text = text.replace("://", "&#58;//").replace("www.", "www&#46;")
    return _MARKDOWN_START.sub(_guarded_start, text)


def markdown_code(text: str) -> str:
    """Return text as a code span that no backtick in it can end."""
    text = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text[:1] in (" ", "`") or text[-1:] in (" ", "`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def latex(text: str) -> str:
    """Return text that LaTeX prints literally; en dashes and ± become LaTeX's own."""
    # Two hyphens of a name would become a dash.
    parts = re.split("(?<=-)(?=-)", printable(text))
    return "{}".join(part.translate(_LATEX) for part in parts)


def csv_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula; an apostrophe precedes one."""
    text = printable(text)
    if not text.lstrip().startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def xml(text: str) -> str:
    """Return text without characters that XML 1.0 forbids; the XML writer escapes the rest."""
    return _XML_FORBIDDEN.sub(_as_escape, text)


def html_value(value: Any) -> Any:
    """Return a value for Jinja's `finalize`: text with control characters as escapes.

    Text of type `Markup` is not changed; Jinja escapes the rest.
    """
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable_lines(value)
    return value


def figure(text: str) -> str:
    """Return text that Matplotlib draws literally, not as a formula between dollar signs."""
    text = printable_lines(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # a legend leaves such labels out


def log_value(text: str, length: int) -> str:
    """Return text for an experiment tracker, at most `length` characters."""
    text = printable(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def log_name(text: str) -> str:
    """Return a name that MLflow takes: letters, digits and a few signs; others become "_"."""
    name = re.sub(r"[^\w.\-/: ]", "_", printable(text), flags=re.ASCII)
    # MLflow refuses names that change when they are normalised as a path.
    name = "/".join(part if part.strip(".") else "_" for part in name.split("/"))
    return name[:250].rstrip("/.") or "_"


def shown_path(path: object) -> str:
    """Return a path for `print`: unchanged for a pipe or file, escaped for a terminal."""
    text = str(path)
    return printable(text) if sys.stdout.isatty() else text


def _as_escape(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


def _guarded_start(found: re.Match[str]) -> str:
    space, mark = found.groups()
    return f"{space}{mark}\\" if mark.isdigit() else f"{space}\\{mark}"
