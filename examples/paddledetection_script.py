"""RIFLE in a script that trains with PaddleDetection's Python API.

Two things are RIFLE's: `det_hooks.attach()`, once, and the `rifle:` block of the config. A small
PP-YOLOE+ is trained for 10 epochs on 24 scenes with the digits 5 to 9, from random weights, and its
output layers are re-initialized after 5.

Run it with ``python examples/paddledetection_script.py``, from anywhere.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import digit_scenes
import yaml

import det_hooks
from rifle_ext.runtime.compat import before_paddle

BASE = Path(__file__).resolve().parents[1] / "configs/det/ppyoloe_plus.yml"


def write_config(folder: Path) -> Path:
    """Write the scenes and a config for them into a folder; returns the config's path."""
    scenes = digit_scenes.write_task(folder, "target", n_train=24, n_val=100, size=64, seed=0)
    config = {
        "_BASE_": [str(BASE)],  # its learning rate falls over 60 epochs: here it hardly does
        "epoch": 10,
        "snapshot_epoch": 10,
        "log_iter": 6,
        "save_dir": str(folder / "output"),
        "TrainDataset": {"dataset_dir": str(scenes)},
        "rifle": {"re_init_epoch": 5, "max_re_num": 1},
    }
    path = folder / "paddledetection_script.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def train(config_path: Path) -> None:
    """Train as PaddleDetection's own tool does."""
    before_paddle()
    det_hooks.attach()
    import paddle
    from ppdet.core.workspace import load_config
    from ppdet.engine import Trainer, set_random_seed

    paddle.set_device("cpu")
    set_random_seed(0)
    trainer = Trainer(load_config(str(config_path)), mode="train")
    trainer.train(validate=False)


def main() -> None:
    """Make the data, train, and tell what was reset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder for all files; default: temporary")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.data or Path(temporary)).resolve()
        config_path = write_config(folder)
        train(config_path)
        # Beside the checkpoints; PaddleDetection 2.6 makes a folder of the config's name for those.
        (events,) = (folder / "output").rglob("rifle_events.jsonl")
        for line in events.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "reset":
                print(f"iteration {event['step']}: {len(event['parameters'])} tensors were reset")


if __name__ == "__main__":
    main()
