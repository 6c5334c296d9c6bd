"""The cost of a reset against the size of the head, and of the model.

``python -m benchmarks.cost.growth``: a linear output layer of 1e3 to 1e8 values in a plain loop,
with Adam; and ResNets of 12 to 127 million values.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any, Dict, List

import paddle
from paddle.vision import models

from benchmarks.cost.timing import interleaved, ratio
from rifle_ext import RIFLE
from rifle_ext.redraw import fresh

SIZES = [10**power for power in range(3, 9)]
WIDTH = 100


MODELS = ("resnet18", "resnet50", "resnet101", "wide_resnet101_2")


def heads() -> List[Dict[str, Any]]:
    """Seconds of a reset, and of copying the same values, for each size of the head."""
    return [_head(size) for size in SIZES]


def whole_models() -> List[Dict[str, Any]]:
    """Seconds of a build with its draw, of a draw without one, and of a step with one image."""
    return [_model(name) for name in MODELS]


def _model(name: str) -> Dict[str, Any]:
    build = getattr(models, name)
    model = build()
    head = {key: p for key, p in model.named_parameters() if key.startswith("fc.")}
    initializers = fresh.from_rebuild(build, head, 0, 1).initializers
    assert initializers is not None
    image = paddle.rand([1, 3, 224, 224])
    optimizer = paddle.optimizer.Momentum(parameters=model.parameters())

    def step() -> None:
        model(image).square().mean().backward()
        optimizer.step()
        optimizer.clear_grad()

    taken = interleaved(
        {
            "build": lambda: fresh.from_rebuild(build, head, 0, 1),
            "draw": lambda: fresh.from_initializers(initializers, head, 0, 2),
            "step": step,
        },
        repeats=5,
    )
    values = sum(int(p.size) for p in model.parameters())
    seconds = {f"{what}_seconds": median(times) for what, times in taken.items()}
    return {"model": name, "values": values, **seconds, "head": sum(p.size for p in head.values())}


def _head(size: int) -> Dict[str, Any]:
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
    print(json.dumps({"growth": heads(), "growth_models": whole_models()}))
