"""Optimizers that do not train the output layers, or wrap one; schedulers that cannot be copied."""

import threading

import paddle
import pytest
from paddle import nn
from small import RIFLE, fields

from rifle_ext import RIFLE as PlainRIFLE
from rifle_ext.errors import RifleError

pytestmark = pytest.mark.timeout(120)


class Wrapper:
    """Such as SAM, gradient centralisation, accumulation: passes on what it does not do itself."""

    def __init__(self, base):
        self.base = base

    def __getattr__(self, name):
        return getattr(self.base, name)

    def step(self):
        self.base.step()


class Derived(paddle.optimizer.Optimizer):
    def __init__(self, base):
        super().__init__(learning_rate=0.1, parameters=base._parameter_list)
        self.base = base

    def step(self):
        self.base.step()


class OwnState(paddle.optimizer.Optimizer):
    def step(self):
        self.momenta = {}


def without_head(builder):
    parameters = [p for n, p in builder.model.named_parameters() if not n.startswith("head")]
    return paddle.optimizer.SGD(0.05, parameters=parameters)


def test_an_optimizer_without_the_output_layers_is_refused(seg):
    with pytest.raises(RifleError, match=r"does not train head.weight, head.bias"):
        seg.train(seg.config(**fields()), optimizer=without_head)
    assert not seg.out.exists()


def test_in_parameter_groups_the_output_layers_are_found(seg):
    def grouped(builder):
        groups = [{"params": list(part.parameters())} for part in builder.model.children()]
        return paddle.optimizer.Momentum(0.05, parameters=groups)

    seg.train(seg.config(**fields()), optimizer=grouped)
    assert [e["step"] for e in seg.events("reset")] == [4, 8]


def test_in_a_loop_of_ones_own():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    others = paddle.optimizer.SGD(0.1, parameters=model[0].parameters())
    with pytest.raises(RifleError, match="does not train linear_.*weight"):
        PlainRIFLE(model[1], optimizer=others)
    PlainRIFLE(model[0], optimizer=others)


WRONG = [
    (lambda base: Wrapper(base), "Wrapper, which is no paddle.optimizer.Optimizer, as is the Adam"),
    (lambda base: Derived(base), "Derived: .* another optimizer .the Adam in its attribute base"),
    (lambda base: OwnState(0.1, base._parameter_list), "OwnState: it wraps another optimizer"),
]


@pytest.mark.parametrize(("wrap", "said"), WRONG)
def test_wrapped_optimizers_are_refused_at_once(seg, wrap, said):
    layer = nn.Linear(4, 2)
    with pytest.raises(RifleError, match=said):
        PlainRIFLE(layer, optimizer=wrap(paddle.optimizer.Adam(parameters=layer.parameters())))
    path = seg.config(**fields(optimizer={"type": "Adam"}))
    with pytest.raises(RifleError, match=said):
        seg.train(path, optimizer=lambda builder: wrap(builder.optimizer))


class Locked(paddle.optimizer.lr.LRScheduler):
    def __init__(self):
        self.lock = threading.Lock()
        super().__init__(0.05)

    def get_lr(self):
        with self.lock:
            return 0.05 / (1 + self.last_epoch)


class Generated(paddle.optimizer.lr.LRScheduler):
    def __init__(self):
        self.rates = (0.05 / (1 + step) for step in range(100))
        super().__init__(0.05)

    def get_lr(self):
        return next(self.rates)


def train_by(seg, scheduler, **block):
    def build(builder):
        return paddle.optimizer.SGD(scheduler, parameters=builder.model.parameters())

    _, before, _ = seg.train(seg.config(**fields(block={**RIFLE, **block})), optimizer=build)
    return before


@pytest.mark.parametrize(("kind", "said"), [(Locked, "lock"), (Generated, "generator")])
def test_a_scheduler_that_cannot_be_copied(seg, kind, said):
    name = kind.__name__
    with pytest.raises(
        RifleError, match=rf"config.yml: rifle.head_lr.cycle: .* a {name} .*TypeError.*{said}"
    ):
        train_by(seg, kind(), head_lr="cyclic")
    before = train_by(seg, kind())
    assert before.rate == {step: pytest.approx(0.05 / (1 + step)) for step in range(12)}
