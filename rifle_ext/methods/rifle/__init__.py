"""RIFLE: re-initialize the output layers several times during fine-tuning.

Li et al., "RIFLE: Backpropagation in Depth for Deep Transfer Learning through Re-Initializing the
Fully-connected LayEr", ICML 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from rifle_ext.training.hooks import Hook


def hooks(block: Any, source: str) -> List[Hook]:
    """The method `rifle` (`rifle_ext.training.registry.Factory`).

    Parameters
    ----------
    block
        What stands under `rifle:` in a config.
    source
        What the user knows the config as: its path.

    Raises
    ------
    RifleError
        If the block is wrong.
    """
    from rifle_ext.methods.rifle.block import parse_block
    from rifle_ext.methods.rifle.distilling import DistillingHook
    from rifle_ext.methods.rifle.hook import RifleHook

    parsed = parse_block(block, source)
    if parsed is None:
        return []
    rifle = RifleHook(parsed, source)
    return [rifle, DistillingHook(rifle, parsed.distill)] if parsed.distill.weight else [rifle]
