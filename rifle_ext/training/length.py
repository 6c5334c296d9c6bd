"""A training has a length: without a step there is nothing that a method could do."""

from __future__ import annotations

from rifle_ext.errors import RifleError


def check_length(total_steps: int, steps_per_epoch: int) -> None:
    """Stop if a training never does a step.

    Parameters
    ----------
    total_steps
        Optimizer steps of the whole training, those before a resume included.
    steps_per_epoch
        Optimizer steps of one pass over the data.

    Raises
    ------
    RifleError
        If one of them is not positive.
    """
    if total_steps < 1 or steps_per_epoch < 1:
        raise RifleError(
            f"there is nothing to train: {total_steps} iterations in all, {steps_per_epoch} "
            "iterations an epoch (is the batch larger than the training set?)",
            topic="images",
        )
