"""Evaluate some weights with a toolkit's own code: ``python -m benchmarks.lwf.evaluate seg|det``.

Then a config and a file of weights; prints ``{"metric": ...}``: mIoU, or mAP of boxes.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import List

import paddle

from rifle_ext.commands.training_options import toolkits
from rifle_ext.heads.classes import depending, shapes_of
from rifle_ext.methods.lwf import old_head_file
from rifle_ext.methods.lwf.export import export
from rifle_ext.training.setup import Request


def old_model(toolkit: str, config: Path, trained: Path, old: Path) -> Path:
    """The old model after a fine-tuning: its old head, if it was kept, on the new trunk.

    After plain fine-tuning that is the head as it was before.

    Parameters
    ----------
    toolkit
        ``seg`` or ``det``.
    config
        Of the fine-tuning.
    trained, old
        The whole models after and before it.
    """
    output = trained.with_name("old.pdparams")
    if not trained.with_suffix(old_head_file.ENDING).exists():
        before = paddle.load(str(old))
        head = {name: before[name] for name in of_classes(toolkit, config)}
        old_head_file.write(trained, paddle.load(str(trained)), head)
    export(trained, output)
    return output


def of_classes(toolkit: str, config: Path) -> List[str]:
    """Names of the tensors whose shapes depend on the number of classes."""
    importlib.import_module(f"benchmarks.transfer.{toolkit}_parts")
    options = ["lwf.weight=0"]
    with toolkits()[toolkit].load()(Request(str(config), options)) as (_, run):
        assert run.classes is not None and run.rebuild_for is not None
        one_more = run.rebuild_for(run.classes + 1).state_dict()
        return depending(shapes_of(run.model.state_dict()), shapes_of(one_more))


def main(toolkit: str, config: str, weights: str) -> None:
    """Print the metric of some weights."""
    importlib.import_module(f"{toolkit}_hooks.train")
    importlib.import_module(f"benchmarks.transfer.{toolkit}_parts")
    metric = {"seg": _miou, "det": _map}[toolkit](config, weights)
    print(json.dumps({"metric": metric}))


def _miou(config: str, weights: str) -> float:
    from paddleseg.core import evaluate
    from paddleseg.cvlibs import Config, SegBuilder
    from paddleseg.utils import utils

    from seg_hooks import compat

    compat.mend_evaluation()
    builder = SegBuilder(Config(config))
    utils.load_entire_model(builder.model, weights)
    return float(evaluate(builder.model, builder.val_dataset, num_workers=0)[0])


def _map(config: str, weights: str) -> float:
    from ppdet.core.workspace import load_config
    from ppdet.engine import Trainer

    cfg = load_config(config)
    trainer = Trainer(cfg, mode="eval")
    trainer.load_weights(weights)
    trainer._reset_metrics = lambda: None  # which would forget the results
    trainer.evaluate()
    return float(trainer._metrics[0].get_results()["bbox"][0])


if __name__ == "__main__":
    main(*sys.argv[1:])
