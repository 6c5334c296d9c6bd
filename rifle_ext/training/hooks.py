"""The one interface between trainers and methods.

An adapter (one for each toolkit) turns its trainer's loop into calls of `Hook`; a method is a
`Hook`. An adapter knows no method: it asks the registry which hooks a config
wants.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, List, Optional

from paddle import nn
from paddle.optimizer import Optimizer

from rifle_ext.heads.outputs import Forward
from rifle_ext.redraw.fresh import Rebuild
from rifle_ext.redraw.reset import Shadow


@dataclass
class TrainingRun:
    """What a hook may see of a training run.

    Attributes
    ----------
    model
        The model that is trained, before any wrapper for several devices.
    optimizer
        The optimizer that trains it, before any such wrapper.
    total_steps, steps_per_epoch
        Length of the whole training and of one pass over the data, in optimizer steps.
    save_dir
        Where the run writes its checkpoints.
    rank
        Of this process among all that train together, from 0.
    log, warn
        Write one line at level INFO or WARNING through the toolkit's logger; on rank 0 only.
    forward
        Runs the model once in training mode on a training sample and returns its outputs.
    gives_losses
        What it returns are losses.
    rebuild
        Builds the model again from its config, without pretrained weights.
    start_step
        Optimizer steps done before this process began: not 0 after a resume. Known from the first
        step on; when training begins it is not 0 only if the checkpoint is loaded already.
    scalar
        Writes one value to the toolkit's VisualDL record: tag, value, step. None if the toolkit
        keeps no such record. Known from the first step on, usable until the last one.
    shadows
        The averages of the weights that the trainer keeps. Known from the first step on.
    """

    model: nn.Layer
    optimizer: Optimizer
    total_steps: int
    steps_per_epoch: int
    save_dir: Path
    rank: int
    log: Callable[[str], None]
    warn: Callable[[str], None]
    forward: Forward
    rebuild: Rebuild
    gives_losses: bool = False
    start_step: int = 0
    scalar: Optional[Callable[[str, float, int], Any]] = None
    shadows: List[Shadow] = field(default_factory=list)


class Hook:
    """What a method may do during training; override what is needed."""

    def on_train_begin(self, run: TrainingRun) -> None:
        """Before the trainer's loop starts and before it writes anything: the place to refuse."""

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """`step` optimizer steps are done, with the last one's evaluation and checkpoint.

        The forward pass of the next one follows.
        """

    def on_train_end(self, run: TrainingRun) -> None:
        """After the loop, however it ended."""
