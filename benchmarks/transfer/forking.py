"""Arms that are forked from one training, each when it begins to differ.

Plain fine-tuning is the trunk. Before the step at which an arm begins to differ, the process is
forked: the child becomes the arm and goes on to the end, then the trunk goes on. So arms share all
that they have in common (weights, moments, random streams, the order of the data), and it is
computed once.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from paddle import Tensor

from rifle_ext.training.hooks import Batch, Hook, Hooks, TrainingRun

LOG = "train.log"


@dataclass(frozen=True)
class Branch:
    """An arm that is forked from a training.

    Attributes
    ----------
    step
        Optimizer steps that it shares with the trunk.
    folder
        Where it runs from then on, with a log of its own.
    blocks
        What its config has beside the trunk's, for the registry of methods.
    """

    step: int
    folder: str
    blocks: Dict[str, Any]


class ForkArms(Hook):
    """Forks a training into arms.

    Parameters
    ----------
    branches
        JSON file of them (see `write`).
    limit
        Seconds that each may take.
    trunk
        Whether the trunk itself is wanted; otherwise it ends with the last fork.
    """

    def __init__(self, branches: str, limit: float, trunk: bool) -> None:
        found = json.loads(Path(branches).read_text())
        self._branches = sorted((Branch(**b) for b in found), key=lambda b: b.step)
        self._limit, self._trunk = limit, trunk
        self._arm = Hooks({})

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Fork what begins to differ here; in an arm, pass on the step."""
        while self._branches and self._branches[0].step == step:
            branch = self._branches.pop(0)
            if fork(branch.folder, self._limit):
                self._branches, self._trunk = [], True
                self._arm = begin(branch.blocks, run)
        self._arm.on_step_begin(run, step)
        if not self._branches and not self._trunk:
            raise SystemExit(0)

    def loss(self, run: TrainingRun, batch: Batch) -> Optional[Tensor]:
        """The arm's terms."""
        terms = list(self._arm.losses(run, batch).values()) if self._arm else []
        return sum(terms[1:], terms[0]) if terms else None

    def on_train_end(self, run: TrainingRun) -> None:
        """Pass it on."""
        self._arm.on_train_end(run)


def begin(blocks: Dict[str, Any], run: TrainingRun) -> Hooks:
    """Begin the methods of a config in the midst of a training.

    Their probe of the model is not one of its steps.
    """
    hooks = Hooks.of(blocks, "config.yml")
    counters, run.model._forward_pre_hooks = run.model._forward_pre_hooks, OrderedDict()
    hooks.on_train_begin(run)
    run.model._forward_pre_hooks = counters
    return hooks


def write(path: Path, branches: List[Branch]) -> None:
    """Write the file that `ForkArms` reads."""
    path.write_text(json.dumps([asdict(branch) for branch in branches]))


def fork(folder: str, limit: float) -> bool:
    """Fork this process; True in the child, which has moved to `folder` with its output.

    The parent waits until the child has ended, and kills it after `limit` seconds. The current
    folder must hold `train.log`, which the child's log begins with.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    drawn = random.getstate()
    child = os.fork()
    if child == 0:
        random.setstate(drawn)  # Python seeds it anew in a child
        os.makedirs(folder, exist_ok=True)
        shutil.copy(LOG, folder)
        os.chdir(folder)
        log = os.open(LOG, os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        return True
    _wait(child, limit)
    return False


@contextlib.contextmanager
def children_leave_at_once() -> Iterator[None]:
    """A child that is forked inside the block ends where it leaves it, without exit handlers.

    What a thread of the parent had locked at the fork is locked in the child for ever, and Paddle's
    exit handlers would wait for it.
    """
    parent = os.getpid()
    try:
        yield
    except BaseException:
        if os.getpid() == parent:
            raise
        traceback.print_exc()
    if os.getpid() != parent:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _wait(child: int, limit: float) -> None:
    end = time.time() + limit
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.time() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.1)
