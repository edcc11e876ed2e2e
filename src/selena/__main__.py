"""`python -m selena` is `selena`."""

from __future__ import annotations

from selena.cli import main

main()
