"""Which trainings there are, and the config of each: pure data and functions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import yaml

from benchmarks.transfer import data

CONFIGS = Path(__file__).parent / "configs"
TOOLKITS = {"pp_liteseg": "seg", "pp_liteseg_sgd": "seg", "gfl": "det", "ppyoloe": "det"}
SOURCES = {"pp_liteseg_sgd": "pp_liteseg"}
"""Whose pre-training a model begins with, if not its own."""
METRICS = {"seg": "mIoU", "det": "mAP"}

SHOTS_BATCH, SOURCE_BATCH = 4, 8

SOURCE_STEPS = {"pp_liteseg": 3000, "gfl": 2500, "ppyoloe": 2500}
SOURCE_RATE = {"pp_liteseg": 0.004, "gfl": 0.002, "ppyoloe": 0.002}
TARGET_RATE = {"pp_liteseg": 0.001, "pp_liteseg_sgd": 0.003, "gfl": 0.004, "ppyoloe": 0.002}
"""Peak learning rates, of AdamW but for the one with SGD."""

STEPS = 600
"""Length of the trainings that compare the arms."""

SGD_STEPS, SGD_ARMS = 1200, ("plain", "rifle-1", "rifle-3")
LENGTHS, PLACED = (300, 600, 1200, 2400), (600, 1200)
"""Lengths at which the number of resets is varied, and the place of the first one."""

SWEPT = 3
"""Seeds of these sweeps, of the one with SGD, and of the second task."""

Change = Callable[[int], Dict[str, Any]]


def _rifle(**block: Any) -> Change:
    return lambda steps: {"rifle": block}


def _first_at(fraction: float, resets: int = 1) -> Change:
    """Resets after this fraction of the training, and then at the same distance."""
    return lambda steps: {
        "rifle": {"re_init_iter": round(fraction * steps), "max_re_num": resets, "keep_last": 0}
    }


def _trick(name: str, **options: Any) -> Change:
    return lambda steps: {"trick": {"type": name, **options}}


ARMS: Dict[str, Change] = {
    "plain": lambda steps: {},
    "rifle": _rifle(),
    "rifle-1": _rifle(max_re_num=1),
    "rifle-2": _rifle(max_re_num=2),
    "rifle-3": _rifle(max_re_num=3),
    "rifle-1-cyclic": _rifle(max_re_num=1, head_lr="cyclic"),
    "rifle-3-cyclic": _rifle(max_re_num=3, head_lr="cyclic"),
    "cyclic-rate": _trick("CyclicRate", periods=4),
    "dropout": _trick("HeadDropout", rate=0.2),
    "dropconnect": _trick("DropConnect", rate=0.2),
    "stochastic-depth": _trick("StochasticDepth", rate=0.2),
    "disturbed-labels": lambda steps: {"disturb": 0.1},
    "paddle-rifle": _trick("RecreatedHead", resets=1),
    # When the first reset falls:
    "rifle-1-at-10%": _first_at(0.10),
    "rifle-1-at-25%": _first_at(0.25),
    "rifle-1-at-75%": _first_at(0.75),
    "rifle-3-by-38%": _first_at(0.125, resets=3),
    # What a head that starts at zero should be given:
    "rifle-1-normal": _rifle(max_re_num=1, weight_initializer={"type": "Normal", "std": 0.01}),
    "rifle-3-normal": _rifle(max_re_num=3, weight_initializer={"type": "Normal", "std": 0.01}),
}
"""What each arm adds to the config of a training of so many steps; `rifle`: all defaults."""

COMPARED = list(ARMS)[:13]
ZERO = ("plain", "rifle", "rifle-1", "rifle-1-normal", "rifle-3", "rifle-3-normal")
"""The arms of every comparison, and of the detector whose head starts at zero."""

COUNTS = ("plain", "rifle", "rifle-1", "rifle-2", "rifle-3")
PLACES = ("rifle-1-at-10%", "rifle-1-at-25%", "rifle-1-at-75%", "rifle-3-by-38%")


@dataclass(frozen=True)
class Run:
    """One fine-tuning.

    Attributes
    ----------
    task
        A key of `data.TASKS`.
    model
        A key of `TOOLKITS`.
    steps
        Optimizer steps.
    arm
        A key of `ARMS`.
    seed
        Which scenes it trains on, and the seed of the training.
    """

    task: str
    model: str
    steps: int
    arm: str
    seed: int

    @property
    def source(self) -> Tuple[str, str]:
        """Task and model of the pre-training it begins with."""
        return self.task, SOURCES.get(self.model, self.model)

    @property
    def key(self) -> str:
        """The run in one word."""
        return "/".join(str(value) for value in asdict(self).values())


def experiments(seeds: int) -> List[Run]:
    """All the fine-tunings: the comparison of the arms, the sweeps, and last the longest ones.

    Parameters
    ----------
    seeds
        How many seeds the arms are compared over; the sweeps take `SWEPT` of them.
    """
    main = [("digits", "pp_liteseg", STEPS, arm) for arm in COMPARED]
    main += [("digits", "gfl", STEPS, arm) for arm in COMPARED]
    main += [("digits", "ppyoloe", STEPS, arm) for arm in ZERO]
    swept = [("digits", "pp_liteseg", steps, arm) for steps in LENGTHS for arm in COUNTS]
    swept += [("digits", "pp_liteseg", steps, arm) for steps in PLACED for arm in PLACES]
    swept += [("digits", "pp_liteseg_sgd", SGD_STEPS, arm) for arm in SGD_ARMS]
    swept += [("fashion", "pp_liteseg", STEPS, arm) for arm in COUNTS]
    wanted = [(run, seed) for seed in range(seeds) for run in main]
    wanted += [(run, seed) for seed in range(min(seeds, SWEPT)) for run in swept]
    runs = [Run(*run, seed) for run, seed in dict.fromkeys(wanted) if data.available(run[0])]
    return sorted(runs, key=lambda run: run.steps == max(LENGTHS))


def source_config(task: str, model: str, scenes: Path, save_to: Path) -> Dict[str, Any]:
    """The config of a pre-training.

    Parameters
    ----------
    task, model
        As of a `Run`.
    scenes
        The task's folder.
    save_to
        The file for the weights without the output layers.
    """
    steps, rate = SOURCE_STEPS[model], SOURCE_RATE[model]
    folder, epoch = scenes / "source", data.SOURCE // SOURCE_BATCH
    if TOOLKITS[model] == "seg":
        config = _seg(model, folder, "train", steps, rate, SOURCE_BATCH)
    else:
        config = _det(model, folder, "train", steps // epoch, rate, SOURCE_BATCH)
    return {**config, "trick": {"type": "SaveWithoutOutputs", "path": str(save_to)}}


def target_config(run: Run, scenes: Path, pretrained: Path) -> Dict[str, Any]:
    """The config of a fine-tuning.

    Parameters
    ----------
    run
        Which one.
    scenes
        The task's folder.
    pretrained
        The file of the weights to start from.
    """
    change = ARMS[run.arm](run.steps)
    if "rifle" in change:
        change["rifle"] = {**change["rifle"], "seed": run.seed}  # other fresh heads for each seed
    disturb = change.pop("disturb", None)
    seg = TOOLKITS[run.model] == "seg"
    folder, few, rate = scenes / "target", f"few_{run.seed}", TARGET_RATE[run.model]
    if seg:
        config = _seg(run.model, folder, few, run.steps, rate, SHOTS_BATCH)
        config["model"] = {"pretrained": str(pretrained)}
    else:
        epochs = run.steps // (data.SHOTS // SHOTS_BATCH)
        config = _det(run.model, folder, few, epochs, rate, SHOTS_BATCH)
        config["pretrain_weights"] = str(pretrained)
    if disturb:
        _disturb(config, seg, disturb)
    return {**config, **change}


def _seg(
    model: str, folder: Path, scenes: str, steps: int, rate: float, batch: int
) -> Dict[str, Any]:
    root = {"dataset_root": str(folder)}
    return {
        "_base_": str(CONFIGS / f"{model}.yml"),
        "iters": steps,
        "batch_size": batch,
        "train_dataset": {**root, "train_path": str(folder / f"{scenes}.txt")},
        "val_dataset": {**root, "val_path": str(folder / "val.txt")},
        "lr_scheduler": {"learning_rate": rate},
    }


def _det(
    model: str, folder: Path, scenes: str, epochs: int, rate: float, batch: int
) -> Dict[str, Any]:
    warm_up = {"name": "LinearWarmup", "start_factor": 0.1, "steps": 20}
    return {
        "_BASE_": [str(CONFIGS / f"{model}.yml")],
        "epoch": epochs,
        "snapshot_epoch": epochs,
        "TrainDataset": {"dataset_dir": str(folder), "anno_path": f"{scenes}.json"},
        "EvalDataset": {"dataset_dir": str(folder)},
        "TestDataset": {"dataset_dir": str(folder)},
        "TrainReader": {"batch_size": batch},
        "LearningRate": {
            "base_lr": rate,
            "schedulers": [{"name": "CosineDecay", "max_epochs": epochs}, warm_up],
        },
    }


def _disturb(config: Dict[str, Any], seg: bool, rate: float) -> None:
    """Add disturbed labels to a config's training data, in place."""
    base = CONFIGS / ("pp_liteseg.yml" if seg else "detector.yml")
    base_config = yaml.safe_load(base.read_text())
    if seg:
        *transforms, normalize = base_config["train_dataset"]["transforms"]
        disturb = {"type": "DisturbLabels", "rate": rate, "num_classes": 6}
        config["train_dataset"]["transforms"] = [*transforms, disturb, normalize]
    else:
        transforms = base_config["TrainReader"]["sample_transforms"]
        disturb = {"DisturbLabels": {"rate": rate, "num_classes": 5}}
        config["TrainReader"]["sample_transforms"] = [*transforms, disturb]
