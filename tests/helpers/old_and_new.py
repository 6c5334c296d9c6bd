"""Small models that are trained on an old task, whole, and then on a new one."""

import yaml
from paddle import nn
from paddleseg.cvlibs import manager
from paddleseg.utils import utils
from seg_runs import TinySeg

from rifle_ext.methods.lwf import old_head_file

CLASSES = ["head.3.weight", "head.3.bias", "aux.weight", "aux.bias"]
"""What of a `TinySeg` depends on the number of classes."""


@manager.MODELS.add_component
class TinyLoaded(TinySeg):
    """Takes pretrained weights, as the models of the zoo do."""

    def __init__(self, num_classes, pretrained=None, **options):
        super().__init__(num_classes, **options)
        utils.load_entire_model(self, pretrained)


@manager.MODELS.add_component
class OwnLoss(TinyLoaded):
    """Makes its losses itself, and is run a second time for that."""

    def loss_computation(self, logits_list, losses, data):
        mirrored = self(data["img"].flip(3))[0].flip(3)
        labels = data["label"].astype("int64")
        apart = [losses["types"][0](logits, labels) for logits in logits_list]
        return [*apart, 0.1 * (mirrored - logits_list[0]).square().mean()]


@manager.MODELS.add_component
class Tangled(nn.Layer):
    """What the last layer is given follows from how many classes there are."""

    def __init__(self, num_classes, pretrained=None):
        super().__init__()
        self.backbone = nn.Conv2D(3, 8, 3, stride=4, padding=1)
        self.coarse = nn.Conv2D(8, num_classes, 1)
        self.mix = nn.Conv2D(num_classes, 8, 1)
        self.last = nn.Conv2D(8, num_classes, 1)
        utils.load_entire_model(self, pretrained)

    def forward(self, x):
        coarse = self.coarse(self.backbone(x))
        logits = self.last(self.mix(coarse))
        return [nn.functional.interpolate(y, x.shape[2:]) for y in (logits, coarse)]


@manager.MODELS.add_component
class TwoHeads(nn.Layer):
    """Two output layers of the classes, which stand on the same."""

    def __init__(self, num_classes, pretrained=None):
        super().__init__()
        self.backbone = nn.Conv2D(3, 8, 3, stride=4, padding=1)
        self.first = nn.Conv2D(8, num_classes, 1)
        self.second = nn.Conv2D(8, num_classes, 1)
        utils.load_entire_model(self, pretrained)

    def forward(self, x):
        feature = self.backbone(x)
        found = (self.first(feature), self.second(feature))
        return [nn.functional.interpolate(y, x.shape[2:]) for y in found]


@manager.MODELS.add_component
class Sized(TinyLoaded):
    """Its last layer is given a size beside its input."""

    def __init__(self, num_classes, pretrained=None, **options):
        TinySeg.__init__(self, num_classes, **options)
        self.last = nn.Conv2DTranspose(8, num_classes, 3, stride=2, padding=1)
        utils.load_entire_model(self, pretrained)

    def forward(self, x):
        feature = self.neck(self.backbone(x))
        logits = self.last(feature, output_size=[2 * size for size in feature.shape[2:]])
        return [nn.functional.interpolate(logits, x.shape[2:], mode="bilinear")] * 2


@manager.MODELS.add_component
class Twice(TinyLoaded):
    """Holds its last layer under two names, as PaddleDetection's SOLOv2Head does."""

    def __init__(self, num_classes, pretrained=None, **options):
        TinySeg.__init__(self, num_classes, **options)
        self.last = self.head[3]
        utils.load_entire_model(self, pretrained)


@manager.MODELS.add_component
class Tied(TinyLoaded):
    """Two output layers have one weight."""

    def __init__(self, num_classes, pretrained=None, **options):
        TinySeg.__init__(self, num_classes, **options)
        self.aux = nn.Conv2D(8, num_classes, 1)
        self.aux.weight = self.head[3].weight
        utils.load_entire_model(self, pretrained)

    def forward(self, x):
        feature = self.neck(self.backbone(x))
        answers = self.head(feature), self.aux(feature)
        return [nn.functional.interpolate(y, x.shape[2:], mode="bilinear") for y in answers]


@manager.MODELS.add_component
class Heeding(TinyLoaded):
    """Cannot be run in evaluation on what it is trained on."""

    def forward(self, x):
        if not self.training:
            raise KeyError("history")
        return super().forward(x)


class Tasks:
    """Trainings on an old task and on a new one, of a model in PaddleSeg."""

    def __init__(self, seg, model="TinyLoaded", old=None):
        self.seg, self.model = seg, model
        self.old = old or self._old()

    def _old(self, classes=8, iters=4):
        out = self.seg.folder / "old"
        path = self.config("old.yml", classes, rate=0.01)
        self.seg.train(path, out=out, iters=iters, save_interval=iters)
        return out / f"iter_{iters}/model.pdparams"

    def config(self, name="new.yml", classes=6, rate=0.05, described=None, **fields):
        """A config for so many classes; six are in the masks."""
        described = {"type": self.model, "num_classes": classes, **(described or {})}
        schedule = {"type": "PolynomialDecay", "learning_rate": rate, "end_lr": 0.001}
        path = self.seg.config(name, model=described, lr_scheduler=schedule, **fields)
        content = yaml.safe_load(path.read_text())
        for part in ("train_dataset", "val_dataset"):
            content[part]["num_classes"] = classes
        path.write_text(yaml.safe_dump(content))
        return path

    def new(self, block, name="new", opts=None, described=None, fields=None, **arguments):
        """Fine-tune with an `lwf:` block (none without); returns what `SegRuns.train` does."""
        described = {"pretrained": str(self.old), "dropout": 0.0, **(described or {})}
        if self.model in ("Tangled", "TwoHeads"):
            described.pop("dropout")
        fields = {**(fields or {}), **({} if block == "plain" else {"lwf": block})}
        path = self.config(f"{name}.yml", described=described, **fields)
        return self.seg.train(path, opts=opts, out=self.seg.folder / name, **arguments)

    def head(self, name="new", step=12):
        """What is kept beside a checkpoint."""
        return numpy(old_head_file.read(self.seg.folder / name / f"iter_{step}/model.pdparams")[1])


def numpy(tensors):
    return {name: tensor.numpy() for name, tensor in tensors.items()}
