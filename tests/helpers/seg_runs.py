"""Trains tiny models with PaddleSeg's own Config, SegBuilder and train, and watches them.

The watchers are hooks of their own, one before RIFLE's and one after it: a method is a Hook, and
the adapter must serve any.
"""

import json
import logging
import sys
from contextlib import contextmanager, redirect_stdout

import numpy as np
import paddle
import yaml
from paddle import nn
from paddleseg.cvlibs import Config, SegBuilder, manager
from paddleseg.utils import utils

import seg_hooks
from rifle_ext.training.hooks import Hook
from rifle_ext.training.registry import registered
from seg_hooks import compat

seg_hooks.attach()
compat.mend_evaluation()


@manager.MODELS.add_component
class TinySeg(nn.Layer):
    """A model nobody has seen: two outputs, a prior written into a bias after construction."""

    built = 0

    def __init__(self, num_classes, dropout=0.1, prior=True):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2D(3, 8, 3, stride=4, padding=1), nn.BatchNorm2D(8), nn.ReLU()
        )
        self.neck = nn.Conv2D(8, 8, 1)
        self.head = nn.Sequential(
            nn.Conv2D(8, 8, 1), nn.BatchNorm2D(8), nn.Dropout(dropout), nn.Conv2D(8, num_classes, 1)
        )
        self.aux = nn.Conv2DTranspose(8, num_classes, 2, stride=2)
        nn.initializer.Normal(0.0, 0.3)(self.head[3].weight)
        if prior:
            with paddle.no_grad():
                self.head[3].bias[:] = -4.6
        TinySeg.built += 1

    def forward(self, x):
        feature = self.neck(self.backbone(x))
        logits = nn.functional.interpolate(self.head(feature), x.shape[2:], mode="bilinear")
        if not self.training:
            return [logits]
        return [logits, nn.functional.interpolate(self.aux(feature), x.shape[2:], mode="bilinear")]


OUTPUTS = ["head.3.weight", "head.3.bias", "aux.weight", "aux.bias"]


class InOrder(paddle.io.DistributedBatchSampler):
    """Does not shuffle: the toolkit's order of batches after a resume is another than without."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "shuffle": False})


REPEATABLE = {
    "model": {"type": "TinySeg", "num_classes": 6, "dropout": 0.0},
    "batch_size": 8,
}
"""Of a config, with `InOrder`: each step sees all images and draws nothing, so that a training that
is resumed can be the uninterrupted one, bit for bit."""


@manager.MODELS.add_component
class NoHead(nn.Layer):
    """Its outputs come from no parameter at all."""

    def __init__(self, num_classes):
        super().__init__()
        self.backbone = nn.Conv2D(3, num_classes, 1)
        self.num_classes = num_classes

    def forward(self, x):
        self.backbone(x)
        return [paddle.concat([x] * 2, axis=1)]


START = {"beta1_pow_acc": 0.9, "beta2_pow_acc": 0.999}
"""What of an optimizer's state does not start at zero."""


def state_of(optimizer, named):
    """{(kind, structured name): array} of what an optimizer keeps beside the parameters."""
    names = {p.name: name for name, p in named.items()}
    # With mixed precision it is kept for the full-precision copies, under their names.
    names.update({m.name: names[key] for key, m in optimizer._master_weights.items()})
    return {
        (kind, names[key]): tensor.numpy()
        for kind, tensors in optimizer._accumulators.items()
        for key, tensor in tensors.items()
        if key in names  # a method may train parameters of its own
    }


class Watch(Hook):
    """Records the head's state at each step, and keeps what tests compare."""

    def __init__(self):
        self.steps, self.heads, self.ids, self.momenta, self.others = [], {}, {}, {}, {}
        self.rate, self.rates = {}, {}

    def on_step_begin(self, run, step):
        named = dict(run.model.named_parameters())
        self.run = run
        self.steps.append(step)
        self.heads[step] = {n: named[n].numpy() for n in OUTPUTS if n in named}
        self.ids[step] = {name: id(p) for name, p in named.items()}
        self.momenta[step] = state_of(run.optimizer, named)
        self.rate[step] = run.optimizer.get_lr()
        self.rates[step] = {n: p.optimize_attr["learning_rate"] for n, p in named.items()}
        self.others[step] = {n: p.numpy() for n, p in named.items() if n not in OUTPUTS}


class SegRuns:
    """Makes configs and runs them in one folder."""

    def __init__(self, scenes, folder):
        self.scenes, self.folder = scenes, folder
        self.out = folder / "output"

    def config(self, name="config.yml", **fields):
        """Write a config on the tiny scenes; returns its path."""

        def dataset(mode):
            return {
                "type": "Dataset",
                "dataset_root": str(self.scenes),
                f"{mode}_path": str(self.scenes / f"{mode}.txt"),
                "num_classes": 6,
                "mode": mode,
                "transforms": [{"type": "Normalize"}],
            }

        content = {
            "batch_size": 4,
            "iters": 12,
            "train_dataset": dataset("train"),
            "val_dataset": dataset("val"),
            "optimizer": {"type": "SGD", "momentum": 0.9},
            "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.05, "end_lr": 0.001},
            "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1, 0.4]},
            "model": {"type": "TinySeg", "num_classes": 6},
            **fields,
        }
        path = self.folder / name
        path.write_text(yaml.safe_dump(content))
        return path

    def train(self, path, opts=None, seed=7, out=None, evaluate=False, optimizer=None, **arguments):
        """Train as `tools/train.py` does; returns the model and the watchers around RIFLE.

        `optimizer` makes another one than the config's, given the builder.
        """
        from paddleseg.core import train

        before, after = Watch(), Watch()
        # Names as in a process of its own: checkpoints of the optimizer are keyed by them.
        with watching(before, after), paddle.utils.unique_name.guard():
            config = Config(str(path), opts=opts)
            config.dic.update(before=True, after=True)
            utils.set_seed(seed)
            builder = SegBuilder(config)
            train(
                builder.model,
                builder.train_dataset,
                val_dataset=builder.val_dataset if evaluate else None,
                optimizer=optimizer(builder) if optimizer else builder.optimizer,
                losses=builder.loss,
                save_dir=str(out or self.out),
                batch_size=config.batch_size,
                **{"iters": config.iters, "save_interval": 4, "log_iters": 4, **arguments},
            )
        return builder.model, before, after

    def events(self, kind=None, out=None):
        """The events of a run, or those of one kind."""
        lines = ((out or self.out) / "rifle_events.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        return [event for event in events if kind in (None, event["event"])]


@contextmanager
def watching(before, after):
    """Two more methods, around RIFLE in their order."""
    before.priority, after.priority = 0, 100
    hooks = {"before": before, "after": after}
    with registered(**{key: lambda block, source, k=key: [hooks[k]] for key in hooks}):
        yield


@contextmanager
def said_into(log):
    """What PaddleSeg prints into a file, or logs through handlers made when it was imported."""
    names = getattr(sys.modules["paddleseg.utils.logger"], "logger_initialized", ())
    found = [handler for name in names for handler in logging.getLogger(name).handlers]
    handlers = [h for h in found if type(h) is logging.StreamHandler]  # pytest adds its own
    streams = [handler.setStream(log) for handler in handlers]
    try:
        with redirect_stdout(log):
            yield
    finally:
        for handler, stream in zip(handlers, streams):
            handler.setStream(stream)


def same(a, b):
    """Whether two {name: array} hold the same bits."""
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
