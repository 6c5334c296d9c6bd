"""Whether paddle computes on a device: a convolution, its gradient, one step of an optimizer.

Run with the Python that has paddle: ``try_device.py gpu``. Exit code 0 if it does.
"""

import zlib  # noqa: F401  isort: skip  (before paddle, which has a zlib of its own)
import sys

import paddle


def main(device: str) -> None:
    """Fail if the gradient is not what it has to be, or anything else fails."""
    paddle.set_device(device)
    layer = paddle.nn.Conv2D(1, 1, 3, weight_attr=paddle.nn.initializer.Constant(1.0))
    optimizer = paddle.optimizer.SGD(0.5, parameters=layer.parameters())
    answer = layer(paddle.full([1, 1, 3, 3], 2.0)).sum()
    answer.backward()
    optimizer.step()
    found = (float(answer), float(layer.weight.grad.sum()), float(layer.weight.sum()))
    if found != (18.0, 18.0, 0.0):
        raise SystemExit(f"{device} computes {found}, and (18.0, 18.0, 0.0) is right")
    where = str(layer.weight.place)
    if device not in where:
        raise SystemExit(f"paddle computed on {where} instead of {device}")


if __name__ == "__main__":
    main(sys.argv[1])
