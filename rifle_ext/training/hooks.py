"""The one interface between trainers and methods.

An adapter (one for each toolkit) turns its trainer's loop into calls of a `Hook`; a method is made
of such hooks. An adapter knows no method: it asks `Hooks.of` for all that a config wants.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

import paddle
from paddle import DataParallel, Tensor, nn
from paddle.optimizer import Optimizer

from rifle_ext.heads.outputs import Forward
from rifle_ext.redraw.fresh import Rebuild
from rifle_ext.redraw.reset import Shadow
from rifle_ext.training.blocks import shown
from rifle_ext.training.events import EventLog
from rifle_ext.training.journal import Journal
from rifle_ext.training.learning_rates import Rate
from rifle_ext.training.loading import Loaded
from rifle_ext.training.plans import MethodPlan
from rifle_ext.training.registry import Active, Blocks, blocks_for, hooks_of


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
    loaded
        Says which tensors of the model hold pretrained weights. To be asked when training begins;
        on a resume it says the same as without.
    rebuild
        Builds the model again from its config, without pretrained weights.
    start_step
        Optimizer steps done before this process began: not 0 after a resume. Known from the first
        step on; when training begins it is not 0 only if the checkpoint is loaded already.
    counted_steps
        Optimizer steps that the checkpoint of a resumed training has counted itself, if it has:
        others than `start_step` where an epoch had another length then.
    scalar
        Writes one value to the toolkit's VisualDL record: tag, value, step. None if the toolkit
        keeps no such record. Known from the first step on, usable until the last one.
    shadows
        The averages of the weights that the trainer keeps. Known from the first step on.
    stops_early
        What of the config may stop the training before `total_steps` where evaluations get worse,
        as the user wrote it; None if nothing may.
    methods
        All hooks of this training by the key of their method's block, in the order in which they
        are called: what a method needs to know of the others.
    wrappers
        What gathers the gradients of several processes (`paddle.DataParallel`). Known from the
        first step on.
    first_rate
        A copy of the optimizer's learning rate from before a checkpoint was loaded into it, where a
        trainer does that before training begins; a scheduler of the user's own may count its steps.
    resumed
        The file of parameters of the checkpoint that is resumed. Known when training begins.
    no_loss
        Why no term can be added to the loss of this training; None if one can.
    classes
        How many classes the config says there are, as it counts them; None if it says nothing.
    exclusive
        Whether each place of an image has exactly one of those classes.
    rebuild_for
        Builds the model again as `rebuild` does, for another number of classes.
    read_weights
        What a file of weights holds, by name; of the config's pretrained weights without a path.
        Raises RifleError if there is none or it cannot be read.
    recorded
        Whether `events` are written: no longer once they cannot be.
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
    loaded: Callable[[], Loaded] = Loaded
    start_step: int = 0
    counted_steps: Optional[int] = None
    scalar: Optional[Callable[[str, float, int], Any]] = None
    shadows: List[Shadow] = field(default_factory=list)
    stops_early: Optional[str] = None
    methods: Active = field(default_factory=dict)
    wrappers: List[DataParallel] = field(default_factory=list)
    first_rate: Optional[Rate] = None
    resumed: Optional[Path] = None
    no_loss: Optional[str] = None
    classes: Optional[int] = None
    exclusive: bool = False
    rebuild_for: Optional[Callable[[int], nn.Layer]] = None
    read_weights: Optional[Callable[[Optional[str]], Mapping[str, Tensor]]] = None
    recorded: bool = True

    @property
    def rate(self) -> Rate:
        """The optimizer's learning rate, as it was before a checkpoint was loaded into it."""
        return self.optimizer._learning_rate if self.first_rate is None else self.first_rate

    @functools.cached_property
    def events(self) -> EventLog:
        """The record of what happens, one for all methods; from the first step on, on rank 0."""
        return EventLog(self.save_dir, resumed=self.start_step > 0)


@dataclass(frozen=True)
class Batch:
    """What the model of a training was given in one step.

    Attributes
    ----------
    forward
        Runs a model of the same kind on it, as the trainer runs its own.
    ignored
        Which pixels of the labels no loss is to count: booleans of shape ``(images, height,
        width)``; None where labels are no pixels.
    """

    forward: Callable[[nn.Layer], Any]
    ignored: Optional[Tensor] = None


class Hook:
    """What a method may do during training; override what is needed.

    Attributes
    ----------
    priority
        Hooks with a smaller number are called first; at the end of a training they are called last.
    excludes
        Keys of methods that cannot be in one training with this one, and why.
    """

    priority: int = 50
    excludes: Mapping[str, str] = {}

    def plan(self, run: TrainingRun) -> Optional[MethodPlan]:
        """What it would do to a training, for `rifle-ext plan` and `init`; changes nothing.

        None if it has nothing to say.
        """

    def busy_until(self, run: TrainingRun) -> int:
        """Optimizer steps done when it last needs gradients everywhere in the model; 0 if never.

        Other methods ask for it, those of a later `priority` from their `on_train_begin` on: one
        that takes layers out of the training does not begin before.
        """
        return 0

    def on_train_begin(self, run: TrainingRun) -> None:
        """Before the trainer's loop starts and before it writes anything: the place to refuse."""

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """`step` optimizer steps are done, with the last one's evaluation and checkpoint.

        The forward pass of the next one follows.
        """

    def loss(self, run: TrainingRun, batch: Batch) -> Optional[Tensor]:
        """A term to be added to the loss of this step, one value; None for none.

        Between the forward pass and the backward pass, in the precision of the training; never in
        an evaluation.
        """

    def on_save(self, run: TrainingRun, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """A file of the model's parameters is about to be written, by this process.

        What belongs beside it can be kept there. `tensors` is what will be in it, by name: those of
        the model, or of an average of it.
        """

    def on_train_end(self, run: TrainingRun) -> None:
        """After the loop, however it ended."""


class Hooks(Hook):
    """All methods of one training as one hook, for the adapters.

    Parameters
    ----------
    active
        The methods, as `registry.methods_for` gives them.
    laid_over
        Those of their blocks that are not in the config: they are shown, as it does not show them.
    """

    def __init__(self, active: Active, laid_over: Optional[Blocks] = None) -> None:
        self.active, self._laid_over = active, laid_over or {}
        self._untold = dict(self._laid_over)
        hooks = [hook for hooks in active.values() for hook in hooks]
        self._hooks = sorted(hooks, key=lambda hook: hook.priority)

    @classmethod
    def of(cls, config: Mapping[str, Any], source: str) -> Hooks:
        """Those a config asks for; false if there is none. Raises what `methods_for` does."""
        blocks = blocks_for(config, source)
        laid_over = {key: block for key, block in blocks.items() if block.laid_over}
        return cls(hooks_of(blocks, source), laid_over)

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def on_train_begin(self, run: TrainingRun) -> None:
        """Tell the methods of each other, then begin each."""
        run.methods = self.active
        for key, block in self._laid_over.items():
            Journal(run, "rifle-ext").log(f"{key}: {shown(block.content)}, from {block.source}")
        with contextlib.ExitStack() as begun:  # if one refuses, those before it end
            for hook in self._hooks:
                hook.on_train_begin(run)
                begun.callback(hook.on_train_end, run)
            begun.pop_all()

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Each in its order."""
        for key, block in self._untold.items():  # there is no record before the first step
            Journal(run, "rifle-ext").event("laid_over", block_of=key, source=block.source)
        self._untold = {}
        for hook in self._hooks:
            hook.on_step_begin(run, step)

    @property
    def with_loss(self) -> bool:
        """Whether any of them may add to the loss."""
        return self._any_has("loss")

    @property
    def with_files(self) -> bool:
        """Whether any of them may keep something beside the model's parameters."""
        return self._any_has("on_save")

    def _any_has(self, place: str) -> bool:
        return any(_has(hook, place) for hook in self._hooks)

    def losses(self, run: TrainingRun, batch: Batch) -> Dict[str, Tensor]:
        """What each method that may add to the loss adds to it, by its key.

        A zero where one adds nothing: toolkits that log each loss want as many in every step.
        """
        found = {}
        for key, hooks in self.active.items():
            adding = [hook for hook in hooks if _has(hook, "loss")]
            terms = [hook.loss(run, batch) for hook in adding]
            added = [term for term in terms if term is not None]
            if adding:
                found[key] = sum(added[1:], added[0]) if added else paddle.zeros([])
        return found

    def on_save(self, run: TrainingRun, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Each in its order."""
        for hook in self._hooks:
            hook.on_save(run, path, tensors)

    def on_train_end(self, run: TrainingRun) -> None:
        """Each, the other way round, whatever another one raises."""
        with contextlib.ExitStack() as stack:
            for hook in self._hooks:
                stack.callback(hook.on_train_end, run)


def _has(hook: Hook, place: str) -> bool:
    """Whether a hook does something at a place."""
    return getattr(type(hook), place) is not getattr(Hook, place)
