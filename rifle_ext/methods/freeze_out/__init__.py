"""FreezeOut: layers stop learning one after the other, the earliest first, to save their time.

Brock, Lim, Ritchie and Weston, "FreezeOut: Accelerate Training by Progressively Freezing Layers",
2017 (arXiv 1706.04983); code github.com/ajbrock/FreezeOut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from rifle_ext.training.hooks import Hook


def hooks(block: Any, source: str) -> List[Hook]:
    """The method `freeze_out` (`rifle_ext.training.registry.Factory`).

    Parameters
    ----------
    block
        What stands under `freeze_out:` in a config.
    source
        What the user knows the config as: its path.

    Raises
    ------
    RifleError
        If the block is wrong.
    """
    from rifle_ext.methods.freeze_out.block import parse_block
    from rifle_ext.methods.freeze_out.hook import FreezeOutHook

    parsed = parse_block(block, source)
    return [] if parsed is None else [FreezeOutHook(parsed, source)]
