"""What differs from trainer to trainer, read off the trainer by what it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional, Tuple

from paddle import nn
from ppdet.engine.callbacks import Checkpointer

from det_hooks.averages import shadow_of
from rifle_ext.redraw.reset import Shadow, write_model

_PAIRS = (("modelStudent", "modelTeacher"), ("student", "teacher"))
"""Attributes of the models of semi-supervised training whose teacher follows the student."""


def trained_model(trainer: Any) -> nn.Layer:
    """What the trainer trains: its model, or the student in it that a teacher follows."""
    student, _ = _student_and_teacher(trainer.model)
    return trainer.model if student is None else student


def shadows(trainer: Any) -> List[Shadow]:
    """What restarts each average of the weights that the trainer keeps."""
    found = [shadow_of(trainer.ema)] if getattr(trainer, "use_ema", False) else []
    _, teacher = _student_and_teacher(trainer.model)
    if teacher is not None:
        found.append(lambda values: write_model(teacher, values))
    return found


def no_loss(trainer: Any) -> Optional[str]:
    """Why nothing can be added to the loss of a trainer's steps; None if it can.

    The others call the model they train once in a step and take `loss` from what it returns.
    """
    if hasattr(trainer.loader, "dataset_label"):
        return "semi-supervised training runs its model several times in a step"
    if hasattr(trainer.model, "student_model"):
        return "distillation from another model makes a loss of its own"
    return None


def length(trainer: Any) -> Tuple[int, int]:
    """Steps in all, and steps per epoch.

    A trainer with `epoch_iter` has epochs of that many steps and ends with the one in which
    `max_iter` is reached, however long the data set is.
    """
    cfg = trainer.cfg
    if hasattr(trainer, "epoch_iter"):
        steps = trainer.epoch_iter if len(trainer.loader) else 0
        return -(-cfg["max_iter"] // trainer.epoch_iter) * steps, steps
    steps = len(trainer.loader)
    return cfg["epoch"] * steps, steps


def output_folder(trainer: Any) -> Path:
    """Where the trainer writes its checkpoints: `save_dir`, or a folder of the config's name there.

    That is the callback's to say; it changed from the one to the other after PaddleDetection 2.6.
    """
    for callback in trainer._callbacks:
        if isinstance(callback, Checkpointer):
            return Path(callback.save_dir)
    return Path(trainer.cfg["save_dir"]) / trainer.cfg["filename"]


def _student_and_teacher(model: nn.Layer) -> Tuple[Optional[nn.Layer], Optional[nn.Layer]]:
    for student, teacher in _PAIRS:
        if hasattr(model, student) and hasattr(model, teacher):
            return getattr(model, student), getattr(model, teacher)
    return None, None
