"""What a training with resets has to equal: the same gradients, given to plain optimizers.

A training is recorded: each step's gradients, learning rates and parameters. Then its gradients are
given to optimizers that the toolkit's own builder makes anew on a copy of the model:

- one that begins at the reset, at the fresh values: the head must go the same way, bit for bit;
- one that begins with the training and never hears of a reset: all the rest must.

Nothing here knows what an optimizer keeps, under which name, or how it groups parameters.
"""

import copy

import numpy as np
import paddle


class Recorder:
    """Notes what an optimizer is given and what it makes of it, at each of its steps."""

    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer
        self.first = values_of(model)
        self.steps = []
        self._step = optimizer.step
        optimizer.step = self.step
        optimizer.minimize = self.minimize

    def step(self):
        named = dict(self.model.named_parameters())
        record = {
            "before": values_of(self.model),
            "gradients": {n: p.grad.numpy() for n, p in named.items() if p.grad is not None},
            "rate": self.optimizer.get_lr(),
            "factors": {n: p.optimize_attr["learning_rate"] for n, p in named.items()},
        }
        self._step()
        self.steps.append({**record, "after": values_of(self.model)})

    def minimize(self, *args, **kwargs):
        self.step()


def values_of(model):
    """{name: array} of all parameters; running statistics, which no optimizer sees, are none."""
    return {
        name: p.numpy()
        for name, p in model.named_parameters()
        if not name.endswith(("._mean", "._variance"))
    }


@paddle.utils.unique_name.guard()  # an optimizer names its state as in a process of its own
def replay(record, build, start=0):
    """The parameters after each step from `start` on, by an optimizer that begins there.

    `build` makes one for a model. Gradients, learning rates and factors are the recorded ones.
    """
    model = copy.deepcopy(record.model)
    named = dict(model.named_parameters())
    for name, parameter in record.model.named_parameters():
        named[name].name = parameter.name  # by which checkpoints of optimizers are keyed
    for name, value in record.steps[start]["before"].items():
        named[name].set_value(value)
    optimizer = build(model)
    result = []
    for step in record.steps[start:]:
        for name, factor in step["factors"].items():
            named[name].optimize_attr["learning_rate"] = factor
        gradients = step["gradients"]
        sum((named[n] * paddle.to_tensor(g)).sum() for n, g in gradients.items()).backward()
        for name, gradient in gradients.items():
            assert np.array_equal(named[name].grad.numpy(), gradient)
        optimizer.set_lr(step["rate"])
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)  # what gets none in a step is not to have zeros
        result.append(values_of(model))
    return result


def check(record, build, head, reset):
    """The training after the reset at step `reset` is that of fresh head and untouched rest."""
    before, at_reset = record.steps[reset - 1]["after"], record.steps[reset]["before"]
    changed = {name for name in before if not np.array_equal(before[name], at_reset[name])}
    assert changed and changed <= set(head)
    for index, after in enumerate(replay(record, build, start=reset)):
        for name in head:
            assert np.array_equal(after[name], record.steps[reset + index]["after"][name]), name
    for index, after in enumerate(replay(record, build)):
        for name in set(after) - set(head):
            assert np.array_equal(after[name], record.steps[index]["after"][name]), name
    trained = {n for n in head if n in record.steps[reset]["gradients"]}
    last = record.steps[-1]["after"]
    assert any(not np.array_equal(last[name], at_reset[name]) for name in trained)
