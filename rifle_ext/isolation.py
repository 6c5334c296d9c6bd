"""Do work beside a training without the training noticing: random streams, names, device."""

from __future__ import annotations

import contextlib
import hashlib
import random
from typing import Iterator, Optional

import numpy as np
import paddle


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Make the CPU the default device."""
    device = paddle.device.get_device()
    paddle.device.set_device("cpu")
    try:
        yield
    finally:
        paddle.device.set_device(device)


@contextlib.contextmanager
def random_streams_kept(seed: Optional[int] = None) -> Iterator[None]:
    """Give the random streams of Python, NumPy and Paddle back as they were found.

    Parameters
    ----------
    seed
        If given (0 to 2**32 - 1), all of them start from it inside the block.
    """
    # Paddle has a stream for the CPU and one for each other device; its functions see the default
    # device's only (their `device` argument fails in paddle 2.6).
    device_state = paddle.get_rng_state()
    with on_cpu():
        cpu_state = paddle.get_rng_state()
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        if seed is not None:
            paddle.seed(seed)
            random.seed(seed)
            np.random.seed(seed)
        yield
    finally:
        with on_cpu():
            paddle.set_rng_state(cpu_state)
        paddle.set_rng_state(device_state)
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextlib.contextmanager
def beside_training(seed: int) -> Iterator[None]:
    """Build layers and parameters on the CPU, from random streams and name counters of their own.

    The names matter: Paddle numbers parameters as they are made, and checkpoints of the optimizer
    are keyed by those names.
    """
    with random_streams_kept(seed), on_cpu(), paddle.utils.unique_name.guard(), paddle.no_grad():
        yield


def draw_seed(seed: int, index: int) -> int:
    """The seed of the fresh values of reset `index` (from 1): 32 bits that depend on both alone."""
    digest = hashlib.sha256(f"rifle-ext {seed} {index}".encode()).digest()
    return int.from_bytes(digest[:4], "little")
