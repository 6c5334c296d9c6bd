"""A small model of the user's own for PaddleSeg, and variations on it: what people really write."""

import collections
import copy
import itertools
import random as random_module
from random import random

import numpy as np
import paddle
from paddle import nn
from paddleseg.cvlibs import manager

SEEN, BUILT = [], []
NUMBERS = itertools.count()
STREAM = np.random.default_rng(7)
LISTS = {"shapes": [], "recent": collections.deque(maxlen=3)}
TOTAL = 0

RIFLE = {"re_init_iter": 4, "max_re_num": 2, "keep_last": 0}


def fields(model="Small", block=RIFLE, **more):
    """Of a config that trains such a model."""
    described = {"type": model, "num_classes": 6, **more.pop("described", {})}
    loss = {"types": [{"type": "CrossEntropyLoss"}], "coef": [1]}
    return {"model": described, "loss": loss, **({} if block is None else {"rifle": block}), **more}


@manager.MODELS.add_component
class Small(nn.Layer):
    """A backbone of two convolutions, then a 1x1 convolution."""

    def __init__(self, num_classes=6, in_channels=3):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2D(in_channels, 8, 3, stride=2, padding=1), nn.BatchNorm2D(8), nn.ReLU(),
            nn.Conv2D(8, 8, 3, stride=2, padding=1), nn.BatchNorm2D(8), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Conv2D(8, num_classes, 1)

    def forward(self, x):
        return [self.logits(x)]

    def logits(self, x):
        logits = self.head(self.backbone(x))
        return nn.functional.interpolate(logits, x.shape[2:], mode="bilinear")


HEAD = ["head.weight", "head.bias"]


@manager.MODELS.add_component
class Decorated(Small):
    @paddle.jit.to_static
    def forward(self, x):
        return [self.logits(x)]


@manager.MODELS.add_component
class FullGraph(Small):
    @paddle.jit.to_static(full_graph=True)
    def forward(self, x):
        return [self.logits(x)]


class DecoratedBackbone(nn.Layer):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    @paddle.jit.to_static
    def forward(self, x):
        return self.inner(x)


@manager.MODELS.add_component
class DecoratedInside(Small):
    def __init__(self, num_classes=6):
        super().__init__(num_classes)
        self.backbone = DecoratedBackbone(self.backbone)
        self.head = paddle.jit.to_static(self.head)


@manager.MODELS.add_component
class Averaged(Small):
    """A teacher inside, frozen, which `forward` moves towards the rest."""

    def __init__(self, num_classes=6):
        super().__init__(num_classes)
        self.teacher = copy.deepcopy(self.backbone)
        for parameter in self.teacher.parameters():
            parameter.stop_gradient = True

    def forward(self, x):
        if self.training:
            with paddle.no_grad():
                pairs = zip(self.teacher.parameters(), self.backbone.parameters())
                for theirs, ours in pairs:
                    theirs.set_value(0.9 * theirs + 0.1 * ours)
        return [self.logits(x)]


@manager.MODELS.add_component
class Counting(Small):
    """Counters, lists and buffers."""

    calls = 0

    def __init__(self, num_classes=6):
        super().__init__(num_classes)
        self.called, self.ids = 0, itertools.count()
        self.register_buffer("mean", paddle.zeros([1]))
        self.cache = {}

    def forward(self, x):
        global TOTAL
        self.called += 1
        type(self).calls += 1
        TOTAL += 1
        SEEN.append(next(NUMBERS))
        self.cache[next(self.ids)] = x.shape
        self.mean.set_value(0.5 * self.mean + x.mean())
        return [self.logits(x)]


@manager.MODELS.add_component
class Hooked(Small):
    """Lists filled by forward hooks: of its own, of a module."""

    def __init__(self, num_classes=6):
        super().__init__(num_classes)
        self.features = []
        self.head.register_forward_post_hook(lambda *call: self.features.append(call[2].shape))
        self.backbone.register_forward_pre_hook(lambda *call: LISTS["shapes"].append(call[1]))
        self.backbone.register_forward_post_hook(lambda *call: LISTS["recent"].append(1))


@manager.MODELS.add_component
class Drawing(Small):
    """Generators: its own, of a module, Python's and NumPy's under other names."""

    def __init__(self, num_classes=6):
        super().__init__(num_classes)
        self.stream, self.other = np.random.default_rng(3), random_module.Random(3)
        self.old = np.random.RandomState(3)
        self.keys = (key for key in itertools.count())

    def forward(self, x):
        drawn = self.stream.random() + self.other.random() + self.old.rand() + STREAM.random()
        drawn += random() + np.random.rand() + float(paddle.rand([1])) + 0 * next(self.keys)
        return [self.logits(x) * (1 + 0.01 * drawn)]


@manager.MODELS.add_component
class Opening(Small):
    """Opens a file at its first call."""

    def __init__(self, num_classes=6, path=""):
        super().__init__(num_classes)
        self.path, self.file = path, None

    def forward(self, x):
        if self.file is None:
            self.file = open(self.path, "rb")  # noqa: SIM115
        self.file.read(1)
        return [self.logits(x)]


@manager.MODELS.add_component
class Registering(Small):
    """Draws and registers itself when it is built."""

    def __init__(self, num_classes=6):
        super().__init__(num_classes)
        BUILT.append(self)
        self.shift = STREAM.random() + next(NUMBERS) * 0

    def forward(self, x):
        return [self.logits(x + self.shift + 0 * STREAM.random() + 0 * len(BUILT))]


@manager.MODELS.add_component
class TwoViews(Small):
    """Called a second time in each iteration, on the mirrored images."""

    def loss_computation(self, logits_list, losses, data):
        mirrored = self(data["img"].flip(3))[0].flip(3)
        loss = losses["types"][0](logits_list[0], data["label"].astype("int64"))
        return [loss, 0.1 * (mirrored - logits_list[0]).square().mean()]


def begin_anew():
    """The module's state as it is in a process of its own."""
    global TOTAL
    TOTAL = 0
    STREAM.bit_generator.state = np.random.default_rng(7).bit_generator.state
    SEEN.clear()
    BUILT.clear()
    for kept in LISTS.values():
        kept.clear()


HELD = np.random.RandomState(1).normal(0, 0.3, (6, 8, 1, 1)).astype("float32")


@manager.MODELS.add_component
class FromArray(nn.Layer):
    """Its constructor fills the head from an array of its own, by no loader that could be idle."""

    def __init__(self, num_classes):
        super().__init__()
        self.backbone = nn.Conv2D(3, 8, 3, padding=1)
        self.head = nn.Conv2D(8, num_classes, 1)
        self.head.weight.set_value(HELD)

    def forward(self, x):
        return [self.head(self.backbone(x))]
