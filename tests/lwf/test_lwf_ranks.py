"""What several processes add up of an old head; trainings of two are in `tests/training`."""

import paddle
from old_and_new import Tasks
from seg_runs import same

from rifle_ext.methods.lwf import hook as lwf_hook


def test_gradients_of_the_old_head_are_averaged(seg, monkeypatch):
    """Of ranks that all have the same, the mean is what each has."""
    tasks = Tasks(seg)
    tasks.new(None, "alone", iters=4)

    added = []

    def added_up(gradient):
        added.append(list(gradient.shape))
        gradient.set_value(4 * gradient)

    monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(paddle.distributed, "all_reduce", added_up)
    monkeypatch.setattr(lwf_hook, "refuse_parts", lambda: None)
    tasks.new(None, "four", iters=4)
    assert same(tasks.head("alone", 4), tasks.head("four", 4))
    held = tasks.head("four", 4).items()
    learning = [list(value.shape) for name, value in held if name.startswith("head.3.")]
    assert len(learning) == 2
    assert sorted(added) == sorted(learning * 4)  # in each step
