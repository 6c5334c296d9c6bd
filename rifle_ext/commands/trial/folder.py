"""The folder of a trial: what it is a trial of, who works in it, what it has found so far."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence

from rifle_ext.commands.trial import records
from rifle_ext.commands.trial.arms import Arm
from rifle_ext.commands.trial.inputs import Inputs, combined, difference, named_files
from rifle_ext.commands.trial.runs import Outcome, Run, Setting
from rifle_ext.errors import RifleError

SETTINGS, RESULTS, LOCK = "settings.json", "results.jsonl", "lock"
MEASURED = "measured"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Nobody else works in this folder meanwhile.

    Raises
    ------
    RifleError
        If somebody does, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+")
    except OSError as error:
        raise RifleError(f"--output {folder}: {error}", topic="trial-folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back when the process ends
        except OSError:
            file.seek(0)
            raise RifleError(
                f"--output {folder}: another trial works there (process {file.read().strip()}); "
                "wait for it, or name another folder",
                topic="trial-folder",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class Trial:
    """What a folder holds of a trial.

    Parameters
    ----------
    setting
        Of all its trainings.
    inputs
        What decides their results.
    arms
        Those of this call.

    Raises
    ------
    RifleError
        If the folder holds a trial of something else.
    """

    def __init__(self, setting: Setting, inputs: Inputs, arms: Sequence[Arm]) -> None:
        self.folder = setting.folder
        how = {
            "toolkit": setting.toolkit,
            "config": setting.config,
            "train tool": setting.train,
            "device": setting.device,
            "evaluations": str(setting.evaluations),
            "iterations": str(setting.total_steps),
        }
        self._inputs: Inputs = {"how it is run": how, **inputs}
        self._arms = {arm.name: json.loads(json.dumps(asdict(arm))) for arm in arms}
        self._files = {arm.name: named_files([*_values(arm), arm.blocks]) for arm in arms}
        self._lines = records.read(self.folder / RESULTS)
        self._check()

    def _check(self) -> None:
        path = self.folder / SETTINGS
        known: Dict[str, Any] = {"inputs": self._inputs, "arms": {}}
        if path.exists():
            try:
                known = json.loads(path.read_text(encoding="utf-8"))
                changed = difference(known["inputs"], self._inputs)
                if not self.results():  # before any is done, anything may change
                    changed, known["arms"] = [], {}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RifleError(
                    f"{path}: not the settings of a trial: {error}", topic="trial-folder"
                ) from error
            if changed:
                raise RifleError(
                    f"--output {self.folder} holds a trial of something else; what differs: "
                    f"{'; '.join(changed)}. Name another folder, or delete that one",
                    topic="trial-folder",
                )
        for name, arm in self._arms.items():
            before = known["arms"].setdefault(name, arm)
            if before != arm:
                raise RifleError(
                    f"--arm {name}: in {self.folder} the arm of this name is another one "
                    f"({_in_a_line(before)}); call this one ({_in_a_line(arm)}) otherwise",
                    topic="trial-folder",
                )
        if known["inputs"] != self._inputs:
            shutil.rmtree(self.folder / MEASURED, ignore_errors=True)
        known["inputs"] = self._inputs
        partial = path.with_suffix(".tmp")  # so that a kill leaves the old one or the new one
        partial.write_text(json.dumps(known, indent=2), encoding="utf-8")
        partial.replace(path)

    def digest(self, run: Run) -> str:
        """Of all that decides a training's result."""
        name = run.arm.name
        return combined([self._inputs, self._arms[name], self._files[name], run.seed])

    def results(self) -> Dict[str, Dict[str, Any]]:
        """The trainings that are done, by their keys."""
        return {key: line for key, line in self._lines.items() if not line["failed"]}

    def is_done(self, run: Run) -> bool:
        """Whether there is a result of a training."""
        return records.is_done(self.results(), run.key, self.digest(run))

    def write(self, run: Run, outcome: Outcome, seconds: float) -> None:
        """Keep what came out of a training."""
        about = {"key": run.key, "arm": run.arm.name, "seed": run.seed}
        about.update(digest=self.digest(run), seconds=round(seconds, 1))
        self._lines[run.key] = {**about, **asdict(outcome)}
        records.append(self.folder / RESULTS, self._lines[run.key])


def _values(arm: Arm) -> List[str]:
    return [option.partition("=")[2] for option in arm.options]


def told(arm: Arm) -> str:
    """What an arm does, in the config's terms."""
    blocks = (f"{key}: {json.dumps(block)}" for key, block in arm.blocks.items())
    return "\n".join([*arm.options, *blocks]) or "the config as it is"


def _in_a_line(arm: Mapping[str, Any]) -> str:
    return ", ".join(told(Arm(**arm)).splitlines())
