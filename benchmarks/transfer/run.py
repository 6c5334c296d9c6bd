"""One training, and the arms forked from it: a toolkit's train tool with the benchmark's parts.

``python -m benchmarks.transfer.run seg <seed> <flags of PaddleSeg's tools/train.py>``, or ``det``.
"""

from __future__ import annotations

import importlib
import sys

from benchmarks.transfer.forking import ForkArms, children_leave_at_once
from rifle_ext.training.registry import register


def main(toolkit: str, seed: int) -> None:
    """Register what is ours, set the random streams, then do what the train tool does."""
    tricks = importlib.import_module("benchmarks.transfer.tricks")
    register("trick", tricks.hooks)
    register("fork", lambda block, source: [ForkArms(**block)])
    tool = importlib.import_module(f"{toolkit}_hooks.train")
    importlib.import_module(f"benchmarks.transfer.{toolkit}_parts")
    importlib.import_module("benchmarks.transfer.loader").load_in_this_thread()
    set_seed(seed)
    with children_leave_at_once():
        tool.main()


def set_seed(seed: int) -> None:
    """Seed all streams a training draws from: PaddleDetection's tool has no flag for that."""
    import random

    import numpy as np
    import paddle

    random.seed(seed)
    np.random.seed(seed)
    paddle.seed(seed)


if __name__ == "__main__":
    main(sys.argv.pop(1), int(sys.argv.pop(1)))
