"""Several processes that train one model together."""

from __future__ import annotations

from typing import List

import paddle

from rifle_ext.errors import RifleError


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
            "the same versions with the same config?"
        )
