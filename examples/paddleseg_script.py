"""RIFLE in a script that trains with PaddleSeg's Python API.

Two things are RIFLE's: `seg_hooks.attach()`, once, and the `rifle:` block of the config. A small
PP-LiteSeg is trained for 40 iterations on 24 scenes with the digits 5 to 9, from random weights;
its output layers are re-initialized after 20.

Run it with ``python examples/paddleseg_script.py``, from anywhere.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import digit_scenes
import yaml

import seg_hooks
from rifle_ext.runtime.compat import before_paddle

BASE = Path(__file__).resolve().parents[1] / "configs/seg/pp_liteseg.yml"


def write_config(folder: Path) -> Path:
    """Write the scenes and a config for them into a folder; returns the config's path."""
    scenes = digit_scenes.write_task(folder, "target", n_train=24, n_val=100, size=64, seed=0)
    config = {
        "_base_": str(BASE),
        "iters": 40,
        "train_dataset": {"dataset_root": str(scenes), "train_path": str(scenes / "train.txt")},
        "rifle": {"re_init_iter": 20, "max_re_num": 1},
    }
    path = folder / "paddleseg_script.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def train(config_path: Path, save_dir: Path) -> None:
    """Train as PaddleSeg's own tool does, without evaluation.

    To evaluate with PaddleSeg 2.8.0 of the package registry under paddle 2.6, call
    `seg_hooks.compat.mend_evaluation()` first.
    """
    before_paddle()
    seg_hooks.attach()
    from paddleseg import core
    from paddleseg.cvlibs import Config, SegBuilder
    from paddleseg.utils import utils

    utils.set_device("cpu")
    utils.set_seed(0)
    config = Config(str(config_path))
    builder = SegBuilder(config)  # RIFLE knows models that come from it
    core.train(
        builder.model,
        builder.train_dataset,
        optimizer=builder.optimizer,
        losses=builder.loss,
        save_dir=str(save_dir),
        iters=config.iters,
        batch_size=config.batch_size,
        save_interval=config.iters,
        log_iters=5,
    )


def main() -> None:
    """Make the data, train, and tell what was reset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder for all files; default: temporary")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.data or Path(temporary)).resolve()
        train(write_config(folder), folder / "output")
        for line in (folder / "output/rifle_events.jsonl").read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "reset":
                print(f"iteration {event['step']}: {len(event['parameters'])} tensors were reset")


if __name__ == "__main__":
    main()
