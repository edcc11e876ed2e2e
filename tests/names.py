"""Names as strangers may choose them."""

from __future__ import annotations

HOSTILE = (
    "line\nbreak\r\n# heading",
    "\x1b[31mred\x1b]0;title\x07 \x9b31m",
    "![x](http://tracker.example/p.png) <img src=x> www.tracker.example",
    "`code` ``two`` [link](javascript:alert(1))",
    "a|b|c",
    '=HYPERLINK("http://tracker.example")',
    "\u202egnp.exe\u200b\u2028",
    "not utf-8 \udcff",
    "\\input{/etc/passwd} $x$ 100% & #1 _ ^ ~ {}",
    "[red]markup[/red] :warning: %{x} {{ x }}",
    "</script><script>alert(1)</script>",
    "]]></failure>",
    "- list",
    "1. list",
    "--- a -- b",
    "*",
    "_hidden",
    "@SUM(1)",
)
