"""A small model that is trained on an old task, whole, and then on a new one."""

import paddle
from paddle import nn
from paddleseg.cvlibs import manager
from paddleseg.utils import utils
from seg_runs import TinySeg


@manager.MODELS.add_component
class TinyLoaded(TinySeg):
    """Takes pretrained weights, as the models of the zoo do."""

    def __init__(self, num_classes, pretrained=None, **options):
        super().__init__(num_classes, **options)
        utils.load_entire_model(self, pretrained)


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


class Losses:
    """The losses that a training logs, as its backward pass sees them."""

    def __init__(self):
        self.seen = []

    def optimizer(self, builder):
        """Notes the sum of gradients of each step, too, before the optimizer uses them."""
        made = builder.optimizer
        step = made.step

        def noting():
            named = dict(builder.model.named_parameters())
            self.seen.append({n: p.grad.numpy() for n, p in named.items() if p.grad is not None})
            return step()

        made.step = noting
        return made


def old_weights(seg, classes=6, model="TinyLoaded", iters=4):
    """Train on the old task; returns the file of the whole model."""
    out = seg.folder / f"old_{model}_{classes}"
    path = seg.config(f"old_{model}_{classes}.yml", model={"type": model, "num_classes": classes})
    seg.train(path, out=out, iters=iters, save_interval=iters)
    return out / f"iter_{iters}" / "model.pdparams"


def forward_of(model, x):
    """In evaluation mode."""
    model.eval()
    with paddle.no_grad():
        return model(x)[0].numpy()
