"""Where tensors are on a machine with a GPU, followed on the CPU with one that is pretended.

Draws are made on the host; what is written stays where it was; nothing else is made on the GPU.
"""

from collections import Counter

import pytest
from old_and_new import Tasks
from pretend_gpu import CPU, GPU, PretendGpu
from seg_runs import OUTPUTS

from rifle_ext.methods.freeze_out.hook import FreezeOutHook
from rifle_ext.methods.lwf.hook import LwfHook
from rifle_ext.methods.rifle.hook import RifleHook

pytestmark = pytest.mark.timeout(120)

PLACES_OF_HOOKS = ("on_train_begin", "on_step_begin", "on_save", "on_train_end")


@pytest.fixture
def gpu(monkeypatch):
    """A pretended GPU, with what each method does named: (its class, where in the training)."""
    with PretendGpu.there() as pretended:
        for kind in (RifleHook, FreezeOutHook, LwfHook):
            for name in PLACES_OF_HOOKS:
                monkeypatch.setattr(kind, name, named(pretended, kind, name))
        yield pretended
        assert pretended.device == GPU, "the default device was changed"


def named(gpu, kind, name):
    theirs = getattr(kind, name)

    def doing(self, run, *step):
        with gpu.doing((kind, *(step if name == "on_step_begin" else [name]))):
            return theirs(self, run, *step)

    return doing


def shapes(made):
    """How many of each shape."""
    return Counter(map(tuple, (one.shape for one in made)))


def touched(gpu, kind):
    """After which steps a method made a tensor, or wrote one, on either place."""
    seen = {one.during[1] for one in [*gpu.made, *gpu.written] if (one.during or [None])[0] is kind}
    return seen - {"on_train_begin", "on_save", "on_train_end"}


def written(gpu, when):
    """What RIFLE wrote then."""
    return [one for one in gpu.written if one.during == (RifleHook, when)]


def begun(gpu, kind, place):
    return gpu.of((kind, "on_train_begin"), place)


def test_the_test_would_see_it(seg, gpu, monkeypatch):
    import paddle

    theirs = RifleHook._tell_change

    def telling(self, *args, **kwargs):
        paddle.zeros([3])
        return theirs(self, *args, **kwargs)

    monkeypatch.setattr(RifleHook, "_tell_change", telling)
    monkeypatch.setattr(RifleHook, "_end_calibration", lambda self: paddle.zeros([5]))
    seg.train(seg.config(rifle={"re_init_iter": 4, "track": True}))
    assert shapes(gpu.of((RifleHook, 3)))[5,] == 1
    assert shapes(gpu.of((RifleHook, 4)))[3,] == 1


@pytest.mark.parametrize("optimizer", [{"type": "SGD", "momentum": 0.9}, {"type": "AdamW"}])
@pytest.mark.parametrize("drawn", ["XavierNormal", None])
def test_rifle(seg, gpu, optimizer, drawn):
    block = {"re_init_iter": 4, "keep_last": 0, "weight_initializer": drawn}
    model, _, after = seg.train(seg.config(rifle=block, optimizer=optimizer))
    named = dict(model.named_parameters())
    head = Counter(tuple(named[name].shape) for name in OUTPUTS)
    assert begun(gpu, RifleHook, CPU) and not begun(gpu, RifleHook, GPU)
    assert {one.place for one in written(gpu, "on_train_begin")} <= {CPU}
    assert touched(gpu, RifleHook) == {4, 8}
    adam = optimizer["type"] == "AdamW"
    for step in (4, 8):
        # Blank state of the optimizer, made where its own code makes it; no other memory.
        blank = gpu.of((RifleHook, step))
        assert shapes(blank) == Counter({shape: n * (1 + adam) for shape, n in head.items()})
        every = written(gpu, step)
        there = [one for one in every if one.place == GPU]
        assert shapes(there) == Counter({shape: n * (2 + adam) for shape, n in head.items()})
        assert len({one.address for one in every}) == len(every)  # each once
        assert len(every) - len(there) == 2 * adam * len(OUTPUTS)  # the powers of the decays
    assert {gpu.place(parameter) for parameter in named.values()} == {GPU}
    state = after.run.optimizer._accumulators
    for kind, by_parameter in state.items():
        wanted = CPU if "pow" in kind else GPU
        assert {gpu.place(tensor) for tensor in by_parameter.values()} == {wanted}, kind
    assert len(state) == 1 + 3 * adam


def test_rifle_in_paddledetection(det, gpu):
    path = det.config(epoch=2, rifle={"re_init_iter": 4, "keep_last": 0, "max_re_num": 1})
    trainer, _, _ = det.train(path)
    named = dict(trainer.model.named_parameters())
    (reset,) = det.events(path, "reset")
    head = Counter(tuple(named[name].shape) for name in reset["parameters"])
    # Mean and deviation of images, which the model holds: noted for the probe, to be given back.
    assert [(one.by, one.shape) for one in begun(gpu, RifleHook, GPU)] == 2 * [
        ("clone", [1, 3, 1, 1])
    ]
    assert begun(gpu, RifleHook, CPU)
    assert touched(gpu, RifleHook) == {4}
    assert not shapes(gpu.of((RifleHook, 4))) - head
    # Parameters, momentum, and the average of the weights.
    assert {one.place for one in written(gpu, 4)} == {GPU}
    assert shapes(written(gpu, 4)) == Counter({shape: 3 * n for shape, n in head.items()})
    assert {gpu.place(parameter) for parameter in named.values()} == {GPU}


def test_freeze_out(seg, gpu):
    seg.train(seg.config(freeze_out={"layers": "all", "t_0": 0.25, "lr": "own"}))
    assert len(seg.events("freeze")) == 3
    assert begun(gpu, FreezeOutHook, CPU) and not begun(gpu, FreezeOutHook, GPU)
    assert touched(gpu, FreezeOutHook) == set()


def test_learning_without_forgetting(seg, gpu):
    tasks = Tasks(seg)
    gpu.made.clear()
    gpu.written.clear()
    model, _, _ = tasks.new({"warm_up": 2}, iters=6, save_interval=3)
    assert begun(gpu, LwfHook, CPU)
    moved = begun(gpu, LwfHook, GPU)
    # The teacher, and the copy of its layer of classes that learns on, once each.
    assert [one for one in moved if one.by != "to"] == []
    assert len({one.address for one in moved}) == len(moved)
    assert len(moved) == len(list(model.named_parameters())) + 2
    assert touched(gpu, LwfHook) == set()
    assert not gpu.of((LwfHook, "on_save")) and not gpu.of((LwfHook, "on_train_end"))
