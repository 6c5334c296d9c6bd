"""Learning without Forgetting: new classes are learned, the old ones kept, without old data.

Li and Hoiem, "Learning without Forgetting", ECCV 2016, TPAMI 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from rifle_ext.training.hooks import Hook


def hooks(block: Any, source: str) -> List[Hook]:
    """The method `lwf` (`rifle_ext.training.registry.Factory`).

    Parameters
    ----------
    block
        What stands under `lwf:` in a config.
    source
        What the user knows the config as: its path.

    Raises
    ------
    RifleError
        If the block is wrong.
    """
    from rifle_ext.methods.lwf.block import parse_block
    from rifle_ext.methods.lwf.hook import LwfHook

    parsed = parse_block(block, source)
    return [] if parsed is None else [LwfHook(parsed, source)]
