"""PaddleDetection's train tool, for the commands that start trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional

from rifle_ext.training.tools import Launch, is_whole, script_beside

MODULE = "det_hooks.train"
OWN_KEYS = (
    "architecture", "epoch", "metric", "TrainDataset", "EvalDataset", "TrainReader", "EvalReader",
    "LearningRate", "OptimizerBuilder", "pretrain_weights", "slim",
)  # fmt: skip


def script() -> Optional[Path]:
    """The `tools/train.py` beside the package `ppdet`: there in a checkout only."""
    return script_beside("ppdet")


def flags(launch: Launch) -> List[str]:
    """The flags of a training; it is evaluated at its end, and before at even distances."""
    epochs = -(-launch.total_steps // max(1, launch.steps_per_epoch))
    folder = json.dumps(str(launch.folder), ensure_ascii=False)  # the tool reads values as YAML
    options = [
        *launch.options,
        f"use_gpu={'true' if launch.device == 'gpu' else 'false'}",
        f"save_dir={folder}",
        f"output_eval={folder}",  # what is detected: others train in the same folder
        f"snapshot_epoch={-(-epochs // launch.evaluations)}",
        f"log_iter={launch.log_every}",
    ]
    resume = [] if launch.resume is None else ["-r", launch.resume]
    return ["-c", launch.config, "--eval", *resume, "-o", *options]


def based_on(config: str) -> Dict[str, Any]:
    """What a config holds that is based on another."""
    return {"_BASE_": [config]}


def last_checkpoint(folder: Path) -> Optional[str]:
    """The last whole checkpoint of an epoch, as `-r` takes it: without its ending."""
    found = {int(p.stem): p for p in folder.rglob("*.pdparams") if p.stem.isdigit()}
    for number in sorted(found, reverse=True):
        if all(is_whole(found[number].with_suffix(f".{kind}")) for kind in ("pdparams", "pdopt")):
            return str(found[number].with_suffix(""))
    return None
