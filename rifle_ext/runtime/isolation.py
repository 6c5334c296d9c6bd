"""Do work beside a training without the training noticing: random streams, names, device."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from typing import Any, Callable, Dict, Iterator

import numpy as np
import paddle

from rifle_ext.runtime.patching import rebound


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
def own_random_streams(seed: int = 0) -> Iterator[None]:
    """Draw from random streams of one's own inside the block; the training's are not touched.

    The loader of a training reads ahead in a thread, which goes on drawing from the streams of
    Python and NumPy meanwhile. So those are not swapped: in this thread alone, the functions of the
    modules `random` and `numpy.random` draw from others, under whatever name a module has imported
    them. Paddle's streams, which only training itself draws from, are seeded and given back.

    Parameters
    ----------
    seed
        Where the streams start (0 to 2**32 - 1).
    """
    with contextlib.ExitStack() as stack:
        over = threading.Event()
        stack.callback(over.set)
        functions: Dict[Callable, Callable] = {}
        for module, shared, own in (
            (random, vars(random)["_inst"], random.Random(seed)),
            (np.random, vars(np.random.mtrand)["_rand"], np.random.RandomState(seed)),
        ):
            functions.update(_for_this_thread(module, shared, own, over))
        stack.enter_context(rebound(functions))
        stack.enter_context(_paddle_streams_kept())
        paddle.seed(seed)
        yield


def _for_this_thread(
    module: Any, shared: Any, own: Any, over: threading.Event
) -> Dict[Callable, Callable]:
    """Stand-ins for the functions of a module that draw from `shared`.

    In this thread they draw from `own`, until it is `over`: a module that is imported meanwhile may
    hold on to them.
    """
    here = threading.get_ident()

    def chosen(name: str, theirs: Callable) -> Callable:
        def draw(*args: Any, **kwargs: Any) -> Any:
            ours = threading.get_ident() == here and not over.is_set()
            return (getattr(own, name) if ours else theirs)(*args, **kwargs)

        return draw

    return {
        function: chosen(name, function)
        for name, function in vars(module).items()
        if getattr(function, "__self__", None) is shared and hasattr(own, name)
    }


@contextlib.contextmanager
def _paddle_streams_kept() -> Iterator[None]:
    """Give Paddle's random streams back as they were found.

    There is one for the CPU and one for each other device; Paddle's functions see the default
    device's only (their `device` argument fails in paddle 2.6).
    """
    device_state = paddle.get_rng_state()
    with on_cpu():
        cpu_state = paddle.get_rng_state()
    try:
        yield
    finally:
        with on_cpu():
            paddle.set_rng_state(cpu_state)
        paddle.set_rng_state(device_state)


@contextlib.contextmanager
def beside_training(seed: int) -> Iterator[None]:
    """Build layers and parameters on the CPU, from random streams and name counters of their own.

    The names matter: Paddle numbers parameters as they are made, and checkpoints of the optimizer
    are keyed by those names.
    """
    with own_random_streams(seed), on_cpu(), paddle.utils.unique_name.guard(), paddle.no_grad():
        yield


def draw_seed(seed: int, index: int) -> int:
    """The seed of the fresh values of reset `index` (from 1): 32 bits that depend on both alone."""
    digest = hashlib.sha256(f"rifle-ext {seed} {index}".encode()).digest()
    return int.from_bytes(digest[:4], "little")
