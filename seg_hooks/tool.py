"""PaddleSeg's train tool, for the commands that start trainings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from rifle_ext.training.tools import Launch, is_whole, script_beside

MODULE = "seg_hooks.train"
OWN_KEYS = ("model", "train_dataset", "val_dataset", "iters", "optimizer", "lr_scheduler", "loss")


def script() -> Optional[Path]:
    """The `tools/train.py` beside the package `paddleseg`: there in a checkout only."""
    return script_beside("paddleseg")


def flags(launch: Launch) -> List[str]:
    """The flags of a training; it is evaluated at its end, and before at even distances."""
    every = -(-launch.total_steps // launch.evaluations)
    found = ["--config", launch.config, "--device", launch.device, "--do_eval"]
    found += ["--seed", str(launch.seed), "--save_dir", str(launch.folder)]
    found += ["--save_interval", str(every), "--log_iters", str(launch.log_every)]
    found += ["--keep_checkpoint_max", "2"]  # a kill may leave the last one unfinished
    if launch.resume is not None:
        found += ["--resume_model", launch.resume]
    return [*found, *(["--opts", *launch.options] if launch.options else [])]


def based_on(config: str) -> Dict[str, Any]:
    """What a config holds that is based on another."""
    return {"_base_": config}


def last_checkpoint(folder: Path) -> Optional[str]:
    """The folder of the last whole checkpoint, as `--resume_model` takes it."""
    names = (re.fullmatch(r"iter_(\d+)", path.name) for path in folder.glob("iter_*"))
    for number in sorted((int(name[1]) for name in names if name), reverse=True):
        path = folder / f"iter_{number}"
        if all(is_whole(path / f"model.{kind}") for kind in ("pdparams", "pdopt")):
            return str(path)
    return None
