"""The command `rifle-ext`."""

from __future__ import annotations

import argparse
from typing import List, Optional

from rifle_ext import __version__


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="rifle-ext",
        description="RIFLE for PaddleSeg and PaddleDetection: re-initialize the output layers "
        "several times during fine-tuning. Add a `rifle:` block to a config and run the toolkit's "
        "own train tool.",
    )
    parser.add_argument("--version", action="version", version=f"rifle-ext {__version__}")
    parser.parse_args(arguments)
    parser.print_help()
    return 0
