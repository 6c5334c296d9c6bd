"""Trains a tiny PP-YOLOE with PaddleDetection's own load_config and Trainer, and watches it."""

import copy
import json
import random

import numpy as np
import paddle
import yaml
from conftest import ROOT
from ppdet import slim as slim_module
from ppdet.core.workspace import load_config, merge_config
from ppdet.engine import Trainer
from ppdet.engine.callbacks import Checkpointer
from seg_runs import same, state_of, watching  # noqa: F401
from workspaces import workspace_kept

import det_hooks
from rifle_ext.training.hooks import Hook

det_hooks.attach()

OWN_FOLDER = "filename" in Checkpointer.__init__.__code__.co_names
"""PaddleDetection writes into a folder of the config's name in `save_dir`: so up to 2.6."""

OUTPUTS = [
    f"yolo_head.pred_{kind}.{level}.{key}"
    for kind in ("cls", "reg")
    for level in range(3)
    for key in ("weight", "bias")
]
"""Of the tiny PP-YOLOE."""

TINY = yaml.safe_load((ROOT / "tests/data/tiny_ppyoloe.yml").read_text())


def pick(values, names=OUTPUTS):
    return {name: values[name] for name in names}


def rest(values):
    return {name: value for name, value in values.items() if name not in OUTPUTS}


class DetWatch(Hook):
    """Records parameters, momentum and average at each step."""

    def __init__(self):
        self.steps, self.values, self.ids, self.momenta, self.averages = [], {}, {}, {}, {}
        self.rate, self.rates = {}, {}

    def on_step_begin(self, run, step):
        named = dict(run.model.named_parameters())
        self.run = run
        self.steps.append(step)
        self.values[step] = {name: p.numpy() for name, p in named.items()}
        self.ids[step] = {name: id(p) for name, p in named.items()}
        self.momenta[step] = state_of(run.optimizer, named)
        self.averages[step] = self.average()
        self.rate[step] = run.optimizer.get_lr()
        self.rates[step] = {n: p.optimize_attr["learning_rate"] for n, p in named.items()}

    trainer = None

    def no_update_since_resume(self):
        """PaddleDetection's `apply` fails then."""
        return self.trainer.ema.step > 0 and not hasattr(self.trainer.ema, "_decay")

    def average(self):
        """What `ModelEMA.apply` would give now; it counts its calls, so ask a copy."""
        teacher = getattr(self.trainer.model, "modelTeacher", None)
        teacher = getattr(self.trainer.model, "teacher", teacher)
        if teacher is not None:
            return {k: v.numpy() for k, v in teacher.state_dict().items()}
        if not self.trainer.use_ema:
            return {}
        if self.trainer.ema.__class__.__name__ == "ModelEMA" and self.no_update_since_resume():
            return {}
        if hasattr(self.trainer.ema, "model"):
            return {k: v.numpy() for k, v in self.trainer.ema.model.state_dict().items()}
        return {k: v.numpy() for k, v in copy.copy(self.trainer.ema).apply().items()}


class DetRuns:
    """Makes configs and runs them in one folder."""

    def __init__(self, scenes, folder):
        self.scenes, self.folder = scenes, folder

    def config(self, name="tiny.yml", ready=None, **fields):
        """Write a config on the tiny scenes; returns its path.

        It is the tiny PP-YOLOE, or one of `configs/det` by its name.
        """
        content = copy.deepcopy(TINY)
        if ready:
            content = {"_BASE_": [str(ROOT / f"configs/det/{ready}.yml")], "worker_num": 0}
            content.update({"epoch": 2, "snapshot_epoch": 1, "use_gpu": False})
        for kind, split in (("Train", "train"), ("Eval", "val"), ("Test", "val")):
            dataset = content.setdefault(f"{kind}Dataset", {})
            kept = {"fcosr": "_rotated"}.get(ready, "")
            dataset.update({"dataset_dir": str(self.scenes), "anno_path": f"{split}{kept}.json"})
        content["TestDataset"]["anno_path"] = str(self.scenes / "val.json")
        path = self.folder / name
        save_dir = self.out(path).parent if OWN_FOLDER else self.out(path)
        content.update({"save_dir": str(save_dir), "output_eval": str(self.folder)})
        content.update(fields)
        path.write_text(yaml.safe_dump(content))
        return path

    def out(self, path):
        """Where a config's training writes."""
        return self.folder / "output" / path.stem

    def events(self, path, kind=None):
        """The events of a config's training, or those of one kind."""
        lines = (self.out(path) / "rifle_events.jsonl").read_text().splitlines()
        return [e for e in map(json.loads, lines) if kind in (None, e["event"])]

    def train(
        self,
        path,
        options=None,
        resume=None,
        evaluate=False,
        trainer=Trainer,
        prepare=None,
        slim=None,
    ):
        """Train as `tools/train.py` does; returns trainer and the watchers around RIFLE."""
        before, after = DetWatch(), DetWatch()
        with workspace_kept(), watching(before, after), paddle.utils.unique_name.guard():
            paddle.seed(3)
            np.random.seed(3)
            random.seed(3)
            cfg = load_config(str(path))
            merge_config(copy.deepcopy(options or {}))
            cfg.update(before=True, after=True)
            if slim:
                cfg = slim_module.build_slim_model(cfg, str(slim))
            made = trainer(cfg, mode="train")
            before.trainer = after.trainer = made
            if resume:
                made.resume_weights(str(resume))
            if prepare:
                prepare(made)
            made.train(evaluate)
        return made, before, after


def with_answers(trainer):
    """Outputs that begin at zero tell nothing, nor do the first averages of statistics."""
    paddle.seed(5)
    for name, parameter in trainer.model.named_parameters():
        if "pred_" in name and name.endswith("weight"):
            parameter.set_value(0.3 * paddle.randn(parameter.shape))
    for layer in trainer.model.sublayers():
        if hasattr(layer, "_momentum"):
            layer._momentum = 0.0  # statistics of the last batch
