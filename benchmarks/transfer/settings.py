"""The config of each training, and its digest: pure functions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List

import yaml

from benchmarks.transfer import data as data_sets
from benchmarks.transfer.data import DATA
from benchmarks.transfer.places import BATCH, MODELS, Model, Place, Run
from benchmarks.transfer.regimes import (
    DET_AUGMENTATIONS,
    REGIMES,
    SEG_AUGMENTATIONS,
    Regime,
    without,
)

CONFIGS = Path(__file__).parent / "configs"

SOURCE_STEPS = {"pp_liteseg": 3000, "gfl": 2500, "ppyoloe": 2500}
SOURCE_RATE = {"pp_liteseg": 0.004, "gfl": 0.002, "ppyoloe": 0.002}
SOURCE_BATCH = 8

FORKS = 2
"""Of the way an arm begins. Before, Python's random stream, which PaddleSeg's augmentation draws
from, was another one in each arm."""


def source_config(model: str, folder: Path, save_to: Path) -> Dict[str, Any]:
    """The config of a pre-training on a drawn source task.

    Parameters
    ----------
    model
        A key of `MODELS`.
    folder
        The data set's folder.
    save_to
        The file for the weights without the output layers.
    """
    name, new = MODELS[model].base or model, MODELS[model].new
    steps, rate = SOURCE_STEPS[name], SOURCE_RATE[name]
    target, epoch = folder / "source", data_sets.SOURCE // SOURCE_BATCH
    if MODELS[model].toolkit == "seg":
        config = _seg(model, target, target / "train.txt", steps, rate, SOURCE_BATCH)
    else:
        config = _det(model, target, "train.json", steps // epoch, rate, SOURCE_BATCH)
    layers = {"layers": list(new)} if new else {}
    return {**config, "trick": {"type": "SaveWithoutOutputs", "path": str(save_to), **layers}}


def trunk_config(place: Place, seed: int, folder: Path, pretrained: Path) -> Dict[str, Any]:
    """The config of plain fine-tuning, which all arms of this place and seed are forked from.

    Parameters
    ----------
    place, seed
        As of a `Run`.
    folder
        The data set's folder.
    pretrained
        The file of the weights to start from.
    """
    model, regime = MODELS[place.model], REGIMES[place.regime]
    target, stem = folder / "target", f"few/{place.regime}_{seed}"
    if model.toolkit == "seg":
        few = folder / f"{stem}.txt"
        config = _seg(place.model, target, few, place.steps, model.rate, BATCH)
        config["val_dataset"]["val_path"] = str(folder / DATA[place.data].val_list)
    else:
        few_json = str(folder / f"{stem}.json")
        config = _det(place.model, target, few_json, place.epochs, model.rate, BATCH)
    config.update(_begin_with(model, str(pretrained)))
    if not regime.augmented:
        _without_augmentation(config, place)
    if not regime.decay:
        config.update(_no_decay(model.toolkit))
    return config


def digest(run: Run, source: str) -> str:
    """A digest of everything that decides what a run does, package and versions apart.

    Parameters
    ----------
    run
        Which one.
    source
        The digest of the pre-training it begins with.
    """
    config = trunk_config(run.place, run.seed, Path("data"), Path("pretrained"))
    data, regime = DATA[run.place.data], REGIMES[run.place.regime]
    drawn = (data_sets.SOURCE, data_sets.VAL, data_sets.SIZE)
    sizes = drawn if data.write else (data_sets.EVERY,)
    images = [data.few, data.several, *sizes, data_sets.VERSION, _what(regime)]
    bases = resolved(base_of(run.place.model))
    what = [source, {**config, "_base_": 0, "_BASE_": 0}, bases, images, run.blocks()]
    draws = run.place.toolkit == "seg" and REGIMES[run.place.regime].augmented
    return digest_of([*what, FORKS] if draws and run.arm != "plain" else what)


def source_digest(name: str, model: str) -> str:
    """A digest of what decides a pre-training on the source task of a drawn data set."""
    config = source_config(model, Path(name), Path("weights"))
    sizes = [data_sets.SOURCE, data_sets.SIZE, data_sets.VERSION]
    bases = resolved(base_of(model))
    return digest_of([{**config, "_base_": 0, "_BASE_": 0}, bases, sizes])


def base_of(model: str) -> Path:
    """The config file that a model's configs are based on."""
    return CONFIGS / f"{MODELS[model].base or model}.yml"


def resolved(path: Path) -> List[Any]:
    """The contents of a config file and of all those it is based on."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    bases = content.get("_base_") or content.get("_BASE_") or []
    bases = [bases] if isinstance(bases, str) else bases
    return [content, *(resolved(path.parent / base) for base in bases)]


def _what(regime: Regime) -> Dict[str, Any]:
    """What a regime does to data and training, beside what a config says."""
    return {k: v for k, v in asdict(regime).items() if k not in ("words", "length")}


def digest_of(what: Any) -> str:
    """A digest of JSON-ready data, 16 hex digits."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _seg(
    model: str, folder: Path, images: Path, steps: int, rate: float, batch: int
) -> Dict[str, Any]:
    root = {"dataset_root": str(folder)}
    return {
        "_base_": str(base_of(model)),
        "iters": steps,
        "batch_size": batch,
        "train_dataset": {**root, "train_path": str(images)},
        "val_dataset": {**root, "val_path": str(folder / "val.txt")},
        "lr_scheduler": {"learning_rate": rate},
    }


def _det(
    model: str, folder: Path, images: str, epochs: int, rate: float, batch: int
) -> Dict[str, Any]:
    warm_up = {"name": "LinearWarmup", "start_factor": 0.1, "steps": 20}
    return {
        "_BASE_": [str(base_of(model))],
        "epoch": epochs,
        "snapshot_epoch": epochs,
        "TrainDataset": {"dataset_dir": str(folder), "anno_path": images},
        "EvalDataset": {"dataset_dir": str(folder)},
        "TestDataset": {"dataset_dir": str(folder)},
        "TrainReader": {"batch_size": batch},
        "LearningRate": {
            "base_lr": rate,
            "schedulers": [{"name": "CosineDecay", "max_epochs": epochs}, warm_up],
        },
    }


def _begin_with(model: Model, pretrained: str) -> Dict[str, Any]:
    """What of a config names the weights to start from."""
    if model.toolkit == "seg":
        found = {"pretrained": pretrained}
        return {"model": {"backbone": found} if model.imagenet else found}
    if model.imagenet:
        return {"EfficientNetLite": {"pretrained": pretrained}}
    return {"pretrain_weights": pretrained}


def _without_augmentation(config: Dict[str, Any], place: Place) -> None:
    """Replace a config's training transforms, in place."""
    seg = place.toolkit == "seg"
    section, key = ("train_dataset", "transforms") if seg else ("TrainReader", "sample_transforms")
    names = SEG_AUGMENTATIONS if seg else DET_AUGMENTATIONS
    bases = resolved(base_of(place.model))
    config[section][key] = without(_first(bases, section, key), names)


def _first(bases: List[Any], section: str, key: str) -> List[Any]:
    """A list of the nearest config file that has it, of those that `resolved` gives.

    As in the toolkits, what a file says counts more than what those say that it is based on, and
    of these the last one's word most.
    """
    content, *others = bases
    if key in content.get(section, {}):
        return list(content[section][key])
    found = (_first(base, section, key) for base in reversed(others))
    return next((transforms for transforms in found if transforms), [])


def _no_decay(toolkit: str) -> Dict[str, Any]:
    if toolkit == "seg":
        return {"optimizer": {"weight_decay": 0.0}}
    return {"OptimizerBuilder": {"optimizer": {"weight_decay": 0.0}}}
