"""Which optimizers heed the rates of single parameters, and what is said of those that do not."""

import numpy as np
import paddle
import pytest
from paddle import nn, optimizer

from rifle_ext import RIFLE, RifleError
from rifle_ext.training.heeding import heeds_rates, holds_still

pytestmark = pytest.mark.timeout(120)


class RatesOfItsOwn(optimizer.Optimizer):
    """Steps by a rate that it keeps for each parameter, as Rprop does."""

    def _create_accumulators(self, block, parameters):
        for parameter in parameters:
            self._add_accumulator("rates", parameter, fill_value=0.01)

    def _append_optimize_op(self, block, param_and_grad):
        parameter, gradient = param_and_grad
        rates = self._get_accumulator("rates", parameter)
        rates.set_value(1.2 * rates)
        parameter.set_value(parameter - rates * paddle.sign(gradient))


class LooksUp(optimizer.SGD):
    """Has to know a parameter's name, and cannot do with others."""

    def _append_optimize_op(self, block, param_and_grad):
        assert param_and_grad[0].name in {p.name for p in self._parameter_list}
        return super()._append_optimize_op(block, param_and_grad)


def momentum(kind, **options):
    return lambda p: getattr(optimizer, kind)(0.1, momentum=0.9, parameters=p, **options)


def plain(kind, **options):
    return lambda p: getattr(optimizer, kind)(0.1, parameters=p, **options)


def groups(p):
    return optimizer.Adam(0.1, parameters=[{"params": p[:1], "learning_rate": 0.1}])


HEEDING = {
    **{kind: plain(kind) for kind in ("SGD", "RMSProp", "Adagrad", "Adadelta", "Adamax", "Lamb")},
    **{kind: plain(kind) for kind in ("NAdam", "RAdam", "ASGD") if hasattr(optimizer, kind)},
    "Momentum": momentum("Momentum", use_nesterov=True, weight_decay=0.1),
    "Adam, fused": plain("Adam", use_multi_tensor=True),
    "AdamW, decay": plain("AdamW", weight_decay=0.1),
    "a scheduler": lambda p: optimizer.AdamW(
        optimizer.lr.LinearWarmup(0.1, 5, 0.0, 0.1), parameters=p
    ),
    "groups": groups,
    "one's own": lambda p: LooksUp(0.1, p),
}
HEEDLESS = {
    "one's own": lambda p: RatesOfItsOwn(0.1, p),
    **({"Rprop": plain("Rprop")} if hasattr(optimizer, "Rprop") else {}),
}


def steps(layer, made, number):
    for _ in range(number):
        layer(paddle.ones([2, 3])).sum().backward()
        made.step()
        made.clear_grad()


@pytest.mark.parametrize("kind", sorted(HEEDING))
def test_they_do_and_are_left_as_they_were(kind):
    paddle.seed(0)
    layers = [nn.Linear(3, 3), nn.Linear(3, 3)]
    layers[1].set_state_dict(layers[0].state_dict())
    asked, other = (HEEDING[kind](layer.parameters()) for layer in layers)
    for _ in range(2):  # before it has learned, and after
        assert heeds_rates(asked) and holds_still(asked)
        steps(layers[0], asked, 2)
        steps(layers[1], other, 2)
        assert np.array_equal(layers[0].weight.numpy(), layers[1].weight.numpy())


def test_a_rate_in_the_moments_is_heeded_and_moves_on_at_0():
    made = momentum("RMSProp")(nn.Linear(3, 3).parameters())
    assert heeds_rates(made) and not holds_still(made)


@pytest.mark.parametrize("kind", sorted(HEEDLESS))
def test_rates_of_its_own_are_all_that_it_heeds(kind):
    layer = nn.Linear(3, 3)
    made = HEEDLESS[kind](layer.parameters())
    assert not heeds_rates(made) and not holds_still(made)
    layer.weight.optimize_attr["learning_rate"] = 0.0
    before = layer.weight.numpy()
    steps(layer, made, 1)
    assert not np.array_equal(layer.weight.numpy(), before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head_lr": {"scale": 3}}, "rifle.head_lr.scale = 3.*set head_lr: none"),
        ({"ramp": 3}, "rifle.ramp = 3.*set it to 0"),
        ({"warm_up": 3}, "rifle.warm_up = 3: .*would go on moving.*set warm_up to 0"),
    ],
)
def test_rifle_refuses_what_would_have_no_effect(options, said):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    for kind in HEEDLESS.values():
        made = kind(model.parameters())
        with pytest.raises(RifleError, match=said):
            RIFLE(model[1], optimizer=made, model=model, **options)


def test_nothing_is_raised_where_nothing_was_asked_for():
    """By itself, the head's rate goes up where it helps: beside, with Adam, it does."""
    seen = []
    for kind in (HEEDLESS["one's own"], plain("Adam")):
        layer = nn.Linear(400, 5)
        made = kind(layer.parameters())
        made.set_lr(1e-3)
        RIFLE(layer, 1, optimizer=made, steps_per_epoch=100).apply(current_epoch=1)
        seen.append(layer.weight.optimize_attr["learning_rate"])
    assert seen[0] == 1 < seen[1]


@pytest.mark.parametrize(
    "blocks", [{"rifle": {"re_init_iter": 4, "head_lr": "cyclic"}}, {"freeze_out": True}]
)
def test_a_trainer_is_refused_before_its_first_step(seg, blocks):
    def heedless(builder):
        return HEEDLESS["one's own"](builder.model.parameters())

    with pytest.raises(RifleError, match="RatesOfItsOwn does not heed the learning rates of sin"):
        seg.train(seg.config(**blocks), optimizer=heedless)
    assert not (seg.out / "rifle_events.jsonl").exists()
