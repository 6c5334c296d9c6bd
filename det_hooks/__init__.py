"""PaddleDetection adapter: turns the loops of `ppdet.engine` trainers into Hook events.

Attaching touches no file of the toolkit, and a config without a block for a method trains exactly
as if the adapter were not there.
"""

from __future__ import annotations

__all__ = ["attach"]


def attach(*copies: type) -> None:
    """Let PaddleDetection's trainers heed the blocks of methods.

    Called by the start-up file once `ppdet.engine` is imported; call it yourself in a script where
    that is switched off (``RIFLE_EXT_AUTOLOAD=0``). Calling it again does nothing.

    Parameters
    ----------
    *copies
        Classes of your own that are copies of `ppdet.engine.Trainer` and not derived from it, whose
        `train` is to heed blocks, too.
    """
    from det_hooks.toolkit import attach_to_copy, attach_to_toolkit

    attach_to_toolkit()
    for copy in copies:
        attach_to_copy(copy)
