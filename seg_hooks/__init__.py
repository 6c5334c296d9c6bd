"""PaddleSeg adapter: turns the loop of `paddleseg.core.train` into Hook events.

Attaching touches no file of the toolkit, and a config without a block for a method trains exactly
as if the adapter were not there.
"""

from __future__ import annotations

__all__ = ["attach"]


def attach() -> None:
    """Let PaddleSeg's `Config`, `SegBuilder` and `train` heed the blocks of methods.

    Called by the start-up file once PaddleSeg is imported; call it yourself in a script where that
    is switched off (``RIFLE_EXT_AUTOLOAD=0``). Calling it again does nothing.
    """
    from seg_hooks.toolkit import attach_to_toolkit

    attach_to_toolkit()
