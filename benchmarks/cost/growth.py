"""The cost of a reset against the size of the head: ``python -m benchmarks.cost.growth``.

A linear output layer of 1e3 to 1e8 values in a plain loop, with Adam.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any, Dict, List

import paddle

from benchmarks.cost.timing import interleaved, ratio
from rifle_ext import RIFLE

SIZES = [10**power for power in range(3, 9)]
WIDTH = 100


def main() -> List[Dict[str, Any]]:
    """Seconds of a reset, and of copying the same values, for each size of the head."""
    return [_measure(size) for size in SIZES]


def _measure(size: int) -> Dict[str, Any]:
    layer = paddle.nn.Linear(WIDTH, size // WIDTH, bias_attr=False)
    optimizer = paddle.optimizer.Adam(parameters=layer.parameters())
    layer(paddle.ones([1, WIDTH])).sum().backward()
    optimizer.step()
    rifle = RIFLE(layer, re_init_epoch=1, max_re_num=1000, optimizer=optimizer)
    epoch = iter(range(1, 1000))
    values = layer.weight.clone()
    taken = interleaved(
        {
            "reset": lambda: rifle.apply(current_epoch=next(epoch)),
            "copy": lambda: layer.weight.set_value(values),
        },
        repeats=5 if size > 10**7 else 15,
    )
    return {
        "values": size,
        "reset_seconds": median(taken["reset"]),
        "copy_seconds": median(taken["copy"]),
        "reset_in_copies": ratio(taken, "reset", "copy"),
    }


if __name__ == "__main__":
    print(json.dumps(main()))
