"""In mixed precision the teacher is run as the training is, and the distance measured in full.

On a CPU Paddle's `auto_cast` does nothing, so another one stands in for it in the toolkits' own
mixed-precision loops: inside it, convolutions give what half precision can hold.
"""

import contextlib

import numpy as np
import paddle
import pytest
from old_and_new import Tasks
from paddle import nn

from rifle_ext.distillation import distances
from rifle_ext.distillation import loss as distillation_loss
from rifle_ext.distillation.answers import Answer
from rifle_ext.methods.lwf import hook as lwf_hook

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:.*can only be enabled"),  # of the gradient scaler
]


class Casting:
    """Stands in for `auto_cast`; notes what the distance is given and how it is measured."""

    def __init__(self, monkeypatch):
        self.inside, self.given, self.measured = False, [], []
        convolve = nn.Conv2D.forward

        def forward(layer, x):
            made = convolve(layer, x)
            return half(made) if self.inside else made

        def noting(answers, today, teacher, *more):
            self.given.append((self.inside, today, teacher))
            return distillation_loss.distillation(answers, today, teacher, *more)

        def summed(each, counts, measure=distances._summed):
            self.measured.append((self.inside, each.dtype))
            return measure(each, counts)

        monkeypatch.setattr(nn.Conv2D, "forward", forward)
        monkeypatch.setattr(paddle.amp, "auto_cast", self.auto_cast)
        monkeypatch.setattr(lwf_hook, "distillation", noting)
        monkeypatch.setattr(distances, "_summed", summed)

    @contextlib.contextmanager
    def auto_cast(self, enable=True, **others):
        before, self.inside = self.inside, bool(enable)
        try:
            yield
        finally:
            self.inside = before


def half(tensor):
    """Rounded to half precision; a CPU has no convolutions in it."""
    return tensor.astype("bfloat16").astype("float32")


def holds_half(tensors):
    return [bool((half(tensor) == tensor).all()) for tensor in tensors]


def check(casting, mixed):
    assert casting.given
    for inside, today, teacher in casting.given:
        assert inside == mixed
        assert set(holds_half([*today, *teacher])) == {mixed}
    assert set(casting.measured) == {(False, paddle.float32)}


@pytest.mark.parametrize("mixed", [True, False])
def test_paddleseg(seg, monkeypatch, mixed):
    tasks = Tasks(seg)
    casting = Casting(monkeypatch)
    tasks.new(None, iters=2, precision="fp16" if mixed else "fp32")
    check(casting, mixed)


def test_paddledetection(det, monkeypatch):
    from det_runs import workspace_kept
    from ppdet.core.workspace import create, load_config

    with workspace_kept():
        model = create(load_config(str(det.config("old.yml", num_classes=7))).architecture)
    for name, parameter in model.named_parameters():
        if "pred_" in name and name.endswith("weight"):
            parameter.set_value(0.3 * paddle.randn(parameter.shape))
    weights = str(det.folder / "old.pdparams")
    paddle.save(model.state_dict(), weights)
    casting = Casting(monkeypatch)
    # Where there is none of the devices that PaddleDetection knows it never casts.
    precision = {"amp": True, "amp_level": "O1", "use_mlu": True}
    path = det.config(epoch=1, lwf=None, pretrain_weights=weights, **precision)
    det.train(path, prepare=lambda trainer: trainer.load_weights(weights))
    check(casting, mixed=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_answers_in_half_precision_are_compared_in_full(dtype):
    rng = np.random.default_rng(0)
    ours, theirs = (paddle.to_tensor(rng.normal(0, 2, (1, 3, 4, 4)), "float32") for _ in "ab")
    ours.stop_gradient = False
    answers = [Answer("a", 0, True, "softmax", 3, 1)]
    today, teacher = ours.astype(dtype), theirs.astype(dtype)
    found = distillation_loss.distillation(answers, [today], [teacher], 2.0)
    full = [tensor.astype("float32") for tensor in (today, teacher)]
    wanted = distillation_loss.distillation(answers, [full[0]], [full[1]], 2.0)
    assert found.dtype == paddle.float32 and float(found) == float(wanted)
    found.backward()
    assert ours.grad is not None and bool(ours.grad.abs().max() > 0)
