"""What came out of a training, from what it left in its folder."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

import numpy as np
import paddle

from benchmarks.transfer import efficientnet_lite
from rifle_ext.training.weight_change import relative_change


def outcome(toolkit: str, folder: Path, pretrained: Optional[Path], steps: int) -> Dict[str, Any]:
    """The metric at the end, the training loss on the way, and how far the backbone moved.

    Parameters
    ----------
    toolkit
        ``seg`` or ``det``.
    folder
        With `train.log` and the training's output.
    pretrained
        The weights that it began with; without them only the metric is told.
    steps
        How many it should have done.

    Returns
    -------
    dict
        ``metric``, a fraction; ``at`` and ``losses``, iterations and the losses logged there;
        ``resets``, their iterations; ``moved``: for each stage of the backbone the norm of its
        change over its norm at the beginning.

    Raises
    ------
    ValueError
        If the log has no evaluation at the end.
    """
    logs = importlib.import_module(f"{toolkit}_hooks.logs")
    curves = logs.from_text((folder / "train.log").read_text(errors="replace").splitlines())
    if curves is None or not curves.metrics:
        raise ValueError(f"{folder / 'train.log'} has no evaluation")
    found: Dict[str, Any] = {"metric": curves.metrics[max(curves.metrics)]}
    if pretrained is None:
        return found
    if max(curves.metrics) != steps:
        raise ValueError(f"{folder / 'train.log'}: evaluated at {list(curves.metrics)}")
    found["at"] = sorted(curves.losses)
    found["losses"] = [float(f"{curves.losses[step]:.4g}") for step in found["at"]]
    found["resets"] = resets(folder)
    found["moved"] = moved(_backbone(pretrained), _backbone(last_weights(folder)))
    return found


def resets(folder: Path) -> List[int]:
    """The iterations after which a training reset its outputs."""
    return [
        event["step"]
        for path in folder.rglob("rifle_events.jsonl")
        for event in map(json.loads, path.read_text().splitlines())
        if event["event"] == "reset"
    ]


def moved(before: Dict[str, np.ndarray], after: Dict[str, np.ndarray]) -> Dict[str, float]:
    """For each stage of a backbone, the norm of its change over its norm before, a fraction."""
    change = relative_change(before, after, stages)
    return {stage: round(value, 4) for stage, value in change.items()}


def stages(names: Iterable[str]) -> Dict[str, List[str]]:
    """The names of each stage."""
    found: Dict[str, List[str]] = {}
    for name in names:
        found.setdefault(stage_of(name), []).append(name)
    return found


def stage_of(name: str) -> str:
    """``backbone.stages.1`` of ``backbone.stages.1.conv1.weight``, ``backbone.stem`` likewise."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts[:3]) if part.isdigit()), 1)
    return ".".join(parts[: number + 1])


def last_weights(folder: Path) -> Path:
    """The checkpoint written last, best models apart."""
    files = [p for p in folder.rglob("*.pdparams") if "best_model" not in str(p)]
    return max(files, key=lambda path: path.stat().st_mtime)


def _backbone(path: Path) -> Dict[str, Any]:
    """The weights of a backbone, without running statistics."""
    if path.suffix == ".npz":
        own = efficientnet_lite.read(efficientnet_lite.EfficientNetLite0(), str(path))
        state = {f"backbone.{name}": values for name, values in own.items()}
    else:
        state = paddle.load(str(path), return_numpy=True)
    return {
        name: values
        for name, values in state.items()
        if name.startswith("backbone.") and not name.endswith(("_mean", "_variance"))
    }
