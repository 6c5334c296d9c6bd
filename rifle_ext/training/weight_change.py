"""How far each stage of a model moves in a training.

Fine-tuning moves the deep stages little; methods that are to move them further are judged by this.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Callable, Dict, Iterable, List, Mapping

import numpy as np
from paddle import Tensor

from rifle_ext.runtime.tensors import as_float32

LARGEST = 2 / 3
"""A stage that holds more than this share of all values is looked at in parts."""


def stages(sizes: Mapping[str, int]) -> Dict[str, List[str]]:
    """Group parameters by the module they are in, coarsely.

    The top-level modules, and of one that holds nearly everything its children, and so on: so a
    backbone is seen stage by stage, whatever it calls its stages.

    Parameters
    ----------
    sizes
        How many values each parameter has, by structured name, in the model's order.

    Returns
    -------
    dict
        Names of parameters by their stage, which is the structured name of a module; a parameter
        of the model itself is its own.
    """
    depth: Dict[str, int] = defaultdict(lambda: 1)

    def stage(name: str) -> str:
        modules = name.split(".")[:-1] or [name]
        return ".".join(modules[: depth[modules[0]]])

    while sizes:
        groups: Dict[str, List[str]] = defaultdict(list)
        for name in sizes:
            groups[stage(name)].append(name)
        largest = max(groups, key=lambda key: sum(sizes[n] for n in groups[key]), default="")
        share = sum(sizes[n] for n in groups[largest]) / max(1, sum(sizes.values()))
        if share <= LARGEST:
            return dict(groups)
        depth[largest.split(".")[0]] += 1
        if all(stage(name) == largest for name in groups[largest]):
            return dict(groups)
    return {}


def relative_change(
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    group: Callable[[Mapping[str, int]], Mapping[str, List[str]]] = stages,
) -> Dict[str, float]:
    """For each stage, the norm of what its weights changed by over their norm before.

    Parameters
    ----------
    before, after
        Arrays of any float dtype by structured name; names that only one of them has are left out,
        and so are stages that were all zero.
    group
        Says which names make up a stage, given how many values each has.
    """
    shared = [name for name in before if name in after]
    groups = group({name: int(before[name].size) for name in shared})
    norms = {stage: _norm(before[n] for n in names) for stage, names in groups.items()}
    return {
        stage: _norm(np.subtract(after[n], before[n], dtype=np.float64) for n in names)
        / norms[stage]
        for stage, names in groups.items()
        if norms[stage] > 0
    }


def _norm(arrays: Iterable[np.ndarray]) -> float:
    return math.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays))


class WeightChange:
    """Compares a model's weights with what they were.

    Parameters
    ----------
    parameters
        What to watch, by structured name; a copy is kept in the host's memory.
    step
        Optimizer steps done.
    """

    def __init__(self, parameters: Mapping[str, Tensor], step: int) -> None:
        self._parameters = parameters
        self.restart(step)

    def restart(self, step: int) -> None:
        """Compare with the weights as they are now, after `step` optimizer steps."""
        self.since = step
        self._before = self._now()

    def stages(self) -> Dict[str, float]:
        """The relative change of each stage since then, a fraction."""
        return relative_change(self._before, self._now())

    def _now(self) -> Dict[str, np.ndarray]:
        return {name: np.array(as_float32(tensor)) for name, tensor in self._parameters.items()}
