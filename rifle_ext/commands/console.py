"""Where the commands print."""

from __future__ import annotations

import sys

from rich.console import Console

PIPED_WIDTH = 100
"""Columns of the page where it is not shown on a terminal."""


def standard_output() -> Console:
    """Standard output, in colour on a terminal."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, highlight=False, emoji=False)
