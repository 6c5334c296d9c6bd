"""Several processes that train one model together."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List

import paddle
from paddle.distributed.fleet.base import topology

from rifle_ext.errors import RifleError
from rifle_ext.runtime.patching import replaced


@contextlib.contextmanager
def noting_wrappers(into: List[paddle.DataParallel]) -> Iterator[None]:
    """Append to a list what is wrapped around models inside the block to gather gradients."""
    init = paddle.DataParallel.__init__

    def noting(self: paddle.DataParallel, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        into.append(self)

    with replaced(paddle.DataParallel, __init__=noting):
        yield


_RETIRED: List[Any] = []
"""Reducers that were replaced: gradients go on calling them, and they do nothing unless asked to
prepare for a backward pass."""


def gather_anew(wrapper: paddle.DataParallel) -> None:
    """Let a wrapper wait for the gradients of what can be trained now, and of nothing else.

    It waits for all that could be when it was made. To be called between two steps, on every rank.
    """
    reducer = getattr(wrapper, "_reducer", None)
    if reducer is not None:  # else there is one process
        _RETIRED.append(reducer)
        wrapper.init_reducer()


def check_same(digest: str, what: str) -> None:
    """Stop the run unless every rank has the same digest; all ranks must call it together.

    Parameters
    ----------
    digest
        Of what this rank has.
    what
        What that is, for the message.

    Raises
    ------
    RifleError
        On every rank, if one differs.
    """
    if paddle.distributed.get_world_size() < 2:
        return
    digests: List[str] = []
    paddle.distributed.all_gather_object(digests, digest)
    different = [rank for rank, other in enumerate(digests) if other != digests[0]]
    if different:
        raise RifleError(
            f"{what}: rank {', '.join(map(str, different))} has other values than rank 0 "
            f"({digests[different[0]][:12]} instead of {digests[0][:12]}); do all processes run "
            "the same versions with the same config?",
            topic="ranks",
        )


SPLIT = ("sharding", "model", "pipe", "sep")
"""Ways of `paddle.distributed.fleet` to spread a model or its optimizer over processes."""


def refuse_parts() -> None:
    """Stop if processes hold parts of the model or of the optimizer's state, as sharding does.

    Each process draws and writes whole tensors, and gives them their whole state back.

    Raises
    ------
    RifleError
        If `paddle.distributed.fleet` was set up to split the model.
    """
    group = topology._HYBRID_PARALLEL_GROUP
    for way in SPLIT:
        degree = getattr(group, f"get_{way}_parallel_world_size", lambda: 1)()
        if degree > 1:
            raise RifleError(
                f"paddle.distributed.fleet was set up with {way} parallelism (degree {degree}), so "
                "each process holds a part of the model or of the optimizer's state; rifle-ext "
                "works with data parallelism alone",
                topic="parallelism",
            )
