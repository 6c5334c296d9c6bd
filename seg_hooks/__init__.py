"""PaddleSeg adapter: turns the loop of `paddleseg.core.train` into Hook events.

Attaching touches no file of the toolkit, and a config without a block for a method trains exactly
as if the adapter were not there.
"""

from __future__ import annotations

from types import ModuleType

__all__ = ["attach"]


def attach(*copies: ModuleType) -> None:
    """Let PaddleSeg's `Config`, `SegBuilder` and `train` heed the blocks of methods.

    Called by the start-up file once PaddleSeg is imported; call it yourself in a script where that
    is switched off (``RIFLE_EXT_AUTOLOAD=0``). Calling it again does nothing.

    Parameters
    ----------
    *copies
        Modules of your own with a copy of PaddleSeg's `core/train.py`, whose `train` is to heed
        blocks, too.

    Raises
    ------
    RifleError
        If a module has not what PaddleSeg's has.
    """
    from seg_hooks.toolkit import attach_to_copy, attach_to_toolkit

    attach_to_toolkit()
    for copy in copies:
        attach_to_copy(copy)
