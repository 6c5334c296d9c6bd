"""One training of a trial: how it is started, how far it is, what came out."""

from __future__ import annotations

import glob
import math
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from rifle_ext.commands.report.told import decoded, lines_of
from rifle_ext.commands.trial.arms import Arm, Models
from rifle_ext.commands.trial.process import Process
from rifle_ext.training.curves import Curves
from rifle_ext.training.tools import Launch

TAIL = 1 << 16
"""Bytes at the end of a log that are read to see how far a training is."""

WHOLE_MODELS = ("*.pdmodel", "*.pdiparams", "*.pdiparams.info", "*.pdteacher")
"""Files of the size of a model that lie beside the checkpoints: exported, or kept as a teacher."""


@dataclass(frozen=True)
class Setting:
    """What all trainings of a trial have in common.

    Attributes
    ----------
    toolkit
        ``seg`` or ``det``, for messages.
    tool, logs
        The adapter's modules of the entry-point groups `rifle_ext.tools` and `rifle_ext.logs`.
    train
        Path of the train tool, or the name of a module.
    config, options, imports
        As the user gave them.
    folder
        Of the trial.
    device
        ``cpu`` or ``gpu``.
    total_steps, steps_per_epoch
        Length of each training in iterations.
    evaluations
        How often each is evaluated.
    models
        What validates the methods' blocks, by key.
    resume
        Whether an interrupted training goes on from its checkpoint.
    keep
        Whether checkpoints are kept.
    """

    toolkit: str
    tool: Any
    logs: Any
    train: str
    config: str
    options: Sequence[str]
    imports: Sequence[str]
    folder: Path
    device: str
    total_steps: int
    steps_per_epoch: int
    evaluations: int
    models: Models
    resume: bool = False
    keep: bool = False


@dataclass(frozen=True)
class Run:
    """One training: an arm with a seed."""

    arm: Arm
    seed: int

    @property
    def key(self) -> str:
        """The run in one word."""
        return f"{self.arm.name}/{self.seed}"

    def folder(self, setting: Setting) -> Path:
        """Where its log is, and its output."""
        return setting.folder / "runs" / self.arm.name / str(self.seed)


@dataclass(frozen=True)
class Outcome:
    """What came out of a training.

    Attributes
    ----------
    failed
        Why there is no result; empty if there is one.
    metric, best
        The metric of the last evaluation and of the best one, a fraction.
    name
        Of the metric.
    resumed
        Whether it was interrupted and went on from a checkpoint, with data in another order.
    losses, metrics
        By the number of iterations done.
    """

    failed: str = ""
    metric: float = math.nan
    best: float = math.nan
    name: str = ""
    resumed: bool = False
    losses: Dict[str, float] = field(default_factory=dict)
    metrics: Dict[str, float] = field(default_factory=dict)


def start(run: Run, setting: Setting, environment: Dict[str, str], log_every: int = 0) -> Process:
    """Start a training, from the beginning or from its checkpoint."""
    folder = run.folder(setting)
    resume = setting.tool.last_checkpoint(folder / "output") if setting.resume else None
    if resume is None:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    launch = Launch(
        config=setting.config,
        options=[*setting.options, *run.arm.overrides(run.seed, setting.models)],
        folder=folder / "output",
        seed=run.seed,
        total_steps=setting.total_steps,
        steps_per_epoch=setting.steps_per_epoch,
        evaluations=setting.evaluations,
        log_every=log_every or max(1, min(10, setting.total_steps // 100)),
        device=setting.device,
        resume=resume,
    )
    child = [sys.executable, "-m", "rifle_ext.commands.trial.child"]
    child += [f"--import={name}" for name in setting.imports]
    command = [*child, str(run.seed), setting.train, *setting.tool.flags(launch)]
    if resume is not None:
        (folder / "resumed").touch()
    return Process(command, folder / "train.log", environment)


def progress(run: Run, setting: Setting) -> Curves:
    """The end of its curves; empty before its first line."""
    log = run.folder(setting) / "train.log"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        lines = decoded(file.read()).splitlines()
    return setting.logs.from_text(lines) or Curves(setting.toolkit, "")


def finish(run: Run, setting: Setting, code: int) -> Outcome:
    """The outcome of a training that ended with this exit code.

    Its checkpoints are deleted, unless they are to be kept or to be resumed.
    """
    folder = run.folder(setting)
    log = folder / "train.log"
    curves = setting.logs.from_text(lines_of(log))
    failed = _failure(code, curves, log)
    if code == 0 and (failed or not setting.keep):  # what failed at its end would fail again
        _delete_checkpoints(folder / "output")
    if failed:
        return Outcome(failed)
    assert curves is not None
    return Outcome(
        metric=curves.metrics[max(curves.metrics)],
        best=max(curves.metrics.values()),
        name=curves.metric,
        resumed=(folder / "resumed").exists(),
        losses={str(step): curves.losses[step] for step in sorted(curves.losses)},
        metrics={str(step): curves.metrics[step] for step in sorted(curves.metrics)},
    )


def _delete_checkpoints(folder: Path) -> None:
    """Parameters, and what lies beside them under their name: the optimizer's, a method's."""
    for parameters in list(folder.rglob("*.pdparams")):
        for path in parameters.parent.glob(f"{glob.escape(parameters.stem)}.*"):
            path.unlink()
    for pattern in WHOLE_MODELS:
        for path in folder.rglob(pattern):
            path.unlink()


def _failure(code: int, curves: Optional[Curves], log: Path) -> str:
    if code:
        said = _last_words(log)
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        memory = "; the machine may have had no memory left" if code == -9 else ""
        return f"{how}{memory}{': ' if said else ''}{said}; see {log}"
    if curves is None or not curves.losses:
        return f"no training loss in its log; see {log}"
    last = max(curves.losses)
    if not math.isfinite(curves.losses[last]):
        return f"the loss is {curves.losses[last]} after {last} iterations; see {log}"
    if not curves.metrics:
        return f"no evaluation in its log; see {log}"
    return ""


def _last_words(log: Path) -> str:
    """The last line of a log that is not blank: after an error, its message."""
    lines: List[str] = [line.strip() for line in lines_of(log) if line.strip()]
    named = [line for line in lines[-20:] if "Error" in line or line.startswith("[RIFLE]")]
    return (named or lines or [""])[-1][:300]
