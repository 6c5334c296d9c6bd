"""What a training will take: a few steps of it, measured."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional

from rifle_ext.commands.trial.process import Process
from rifle_ext.commands.trial.runs import Run, Setting, finish, progress, start
from rifle_ext.errors import RifleError

STEPS = 6
"""Steps that are waited for."""

LIMIT = 900.0
"""Seconds that are waited at most."""

COPIES = 3
"""What a checkpoint holds of each value: itself, and two moments of Adam."""

CHECKPOINTS = 3
"""Checkpoints of one training at a time: two, and the best one."""


@dataclass(frozen=True)
class Measured:
    """What a few steps of a training took.

    Attributes
    ----------
    start, step
        Seconds until the first step was done, and of each one after it.
    memory
        Bytes of memory at the peak, that of a GPU apart; 0 if that cannot be known.
    """

    start: float
    step: float
    memory: int

    def seconds(self, steps: int) -> float:
        """Of a training of so many steps, evaluations apart."""
        return self.start + self.step * steps


def measure(run: Run, setting: Setting, environment: Dict[str, str]) -> Measured:
    """Start a training, watch its first steps, and stop it.

    Raises
    ------
    RifleError
        If it fails before.
    """
    begun = time.monotonic()
    process = start(run, setting, environment, log_every=1)
    seen: Dict[int, float] = {}
    memory, code = 0, None
    try:
        while len(seen) < STEPS and code is None and time.monotonic() < begun + LIMIT:
            time.sleep(0.05)
            code = process.ended()
            memory = max(memory, memory_of(process))
            steps = max(progress(run, setting).losses, default=0)
            if steps:
                seen.setdefault(steps, time.monotonic())
    finally:
        process.kill()
    if code:
        raise RifleError(
            f"--config {setting.config}: {finish(run, setting, code).failed}", topic="toolkit"
        )
    if not seen:
        raise RifleError(
            f"--config {setting.config}: no step was done in {LIMIT / 60:.0f} minutes; see "
            f"{process.log}",
            topic="toolkit",
        )
    (first, at), (last, until) = min(seen.items()), max(seen.items())
    step = (until - at) / (last - first) if last > first else 0.0
    return Measured(max(0.0, at - begun - first * step), step, memory)


def memory_of(process: Process) -> int:
    """Bytes a process has taken at most, as Linux counts them; 0 elsewhere."""
    return _kilobytes(Path(f"/proc/{process.pid}/status"), "VmHWM") * 1024


def free_memory() -> Optional[int]:
    """Bytes of memory that can be had, as Linux counts them; None elsewhere."""
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable") * 1024 or None


def _kilobytes(path: Path, name: str) -> int:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def jobs_that_fit(wanted: int, memory: int, free: Optional[int]) -> int:
    """How many trainings the memory is enough for: as many as wanted, or fewer, at least one.

    Parameters
    ----------
    wanted
        Trainings at a time.
    memory
        Bytes one of them takes; 0 if that is not known.
    free
        Bytes that can be had; None if that is not known.
    """
    if not memory or free is None:
        return wanted
    return max(1, min(wanted, int(free // memory)))


def disk_space(values: int, jobs: int, runs: int, keep: bool) -> int:
    """Bytes that checkpoints take: of trainings that run at a time, or of all if they are kept."""
    return values * 4 * COPIES * CHECKPOINTS * (runs if keep else jobs)
