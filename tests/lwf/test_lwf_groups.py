"""An old head in optimizers whose parameters are in groups."""

import numpy as np
import paddle
import pytest
from seg_runs import same

pytestmark = pytest.mark.timeout(120)


class Gradients:
    """What the optimizer's gradients are before its last step, by the parameter's own name."""

    def __init__(self):
        self.of = {}

    def optimizer(self, builder):
        made = builder.optimizer
        step = made.step

        def noting():
            for group in made._param_groups:
                self.of.update(
                    {p.name: p.grad.numpy() for p in group["params"] if p.grad is not None}
                )
            return step()

        made.step = noting
        return made


@pytest.mark.parametrize("kind", ["SGD", "Momentum"])
def test_each_tensor_learns_as_the_new_one_of_its_name_does(tasks, kind):
    groups = [
        {"name": "backbone", "lr_mult": 0.1},
        {"name": "head.3.weight", "lr_mult": 0.5, "weight_decay_mult": 3.0},
    ]
    noted = Gradients()
    fields = {"optimizer": {"type": kind, "weight_decay": 0.1, "custom_cfg": groups}}
    _, before, _ = tasks.new(
        None, fields=fields, optimizer=noted.optimizer, iters=1, save_interval=1
    )
    old, kept, rate = paddle.load(str(tasks.old)), tasks.head(step=1), before.rate[0]
    for name, factor, decay in (("head.3.weight", 0.5, 0.3), ("head.3.bias", 1.0, 0.1)):
        start, gradient = old[name].numpy(), noted.of[f"lwf.{name}"]
        stepped = start - factor * rate * (gradient + decay * start)
        assert np.abs(stepped - start).max() > 1e-3
        np.testing.assert_allclose(kept[name], stepped, rtol=1e-5, atol=1e-6, err_msg=name)


FUSED = {"use_multi_tensor": True}


@pytest.mark.parametrize("kind", ["Momentum", "Adam"])
def test_a_fused_optimizer_steps_the_model_alone_before_and_after(tasks, kind):
    made = []

    def step(model):
        before = model.head[3].weight.numpy()
        sum(out.square().mean() for out in model(paddle.ones([4, 3, 64, 64]))).backward()
        made[0].step()
        made[0].clear_grad()
        return np.abs(model.head[3].weight.numpy() - before).max()

    def optimizer(builder):
        make_one = getattr(paddle.optimizer, kind)
        made.append(make_one(0.01, parameters=builder.model.parameters(), **FUSED))
        assert step(builder.model) > 1e-4
        return made[0]

    model, _, _ = tasks.new(None, optimizer=optimizer, iters=1, save_interval=1)
    kept = tasks.head(step=1)["head.3.weight"]
    assert not np.array_equal(kept, paddle.load(str(tasks.old))["head.3.weight"].numpy())
    assert step(model) > 1e-4


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *(("Momentum", FUSED), ("Adam", FUSED), ("AdamW", {}), ("RMSProp", {}), ("Adamax", {})),
        *(("Adagrad", {}), ("Adadelta", {}), ("Lamb", {})),
    ],
)
def test_groups_of_no_rates_of_their_own_are_as_none(tasks, kind, options):
    """With each of Paddle's optimizers the old head is then the same, bit for bit."""
    made = []

    def optimizer(grouped):
        def make(builder):
            parts = [list(part.parameters()) for part in builder.model.children()]
            parameters = [{"params": part} for part in parts] if grouped else sum(parts, [])
            make_one = getattr(paddle.optimizer, kind)
            made.append(make_one(learning_rate=0.01, parameters=parameters, **options))
            return made[-1]

        return make

    heads = {}
    for name in ("grouped", "flat"):
        _, _, after = tasks.new(
            None, name, optimizer=optimizer(name == "grouped"), iters=2, save_interval=2
        )
        heads[name] = tasks.head(name, step=2)
    assert same(heads["grouped"], heads["flat"])
    before = paddle.load(str(tasks.old))["head.3.weight"].numpy()
    assert np.abs(heads["grouped"]["head.3.weight"] - before).max() > 1e-6
    groups = [len(group["params"]) for group in made[0]._param_groups]
    assert groups == [len(part.parameters()) for part in after.run.model.children()]
