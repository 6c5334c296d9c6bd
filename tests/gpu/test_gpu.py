"""On an NVIDIA GPU: values, mixed precision, devices. Skipped, and said so, where there is none."""

import numpy as np
import paddle
import pytest
import replay
from ppdet.optimizer import OptimizerBuilder
from replay import Recorder

from rifle_ext.commands.training_options import toolkits
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.training.setup import Request

NO_GPU = not paddle.is_compiled_with_cuda() or paddle.device.cuda.device_count() == 0

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(240),
    pytest.mark.skipif(NO_GPU, reason="needs an NVIDIA GPU and paddlepaddle-gpu"),
]

RIFLE = {"re_init_iter": 4, "max_re_num": 1, "keep_last": 0, "weight_initializer": "XavierNormal"}


@pytest.fixture(autouse=True)
def on_gpu():
    device = paddle.device.get_device()
    paddle.set_device("gpu")
    yield
    assert paddle.device.get_device().startswith("gpu"), "a reset changed the default device"
    paddle.set_device(device)


def drawn(toolkit, path):
    """The values that a reset on the CPU writes: float32, by name."""
    with toolkits()[toolkit].load()(Request(str(path))) as (_, run):
        values = Plan(parse_block(RIFLE), run).draw(1)
    paddle.set_device("gpu")
    return {name: value.numpy() for name, value in values.items()}


def test_a_reset_writes_what_it_writes_on_the_cpu(seg, det):
    path = seg.config(iters=8, rifle=RIFLE)
    wanted = drawn("seg", path)
    _, _, after = seg.train(path)
    for name, value in after.heads[4].items():
        assert np.array_equal(value, wanted[name]), name
    path = det.config(rifle=RIFLE, epoch=2, use_gpu=True)
    wanted = drawn("det", path)
    _, _, after = det.train(path)
    for name, value in wanted.items():
        assert np.array_equal(after.values[4][name], value), name


def master_weights(run):
    """Full-precision copies the optimizer keeps, by structured name."""
    names = {p.name: name for name, p in run.model.named_parameters()}
    return {names[key]: t.numpy() for key, t in run.optimizer._master_weights.items()}


def check(after, heads, wanted):
    """Parameters are the fresh values in their own precision, master weights in full."""
    for name, value in heads.items():
        assert np.array_equal(value, wanted[name].astype(value.dtype)), name
    for name, value in after.masters.items():
        if name in wanted:
            assert np.array_equal(value, wanted[name]), name
    for (kind, name), value in after.momenta[4].items():
        assert name not in wanted or not value.any(), (kind, name)


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_mixed_precision_of_paddleseg(seg, level, monkeypatch):
    path = seg.config(iters=8, rifle=RIFLE)
    wanted = drawn("seg", path)
    recording(monkeypatch, step=4)
    _, _, after = seg.train(path, precision="fp16", amp_level=level)
    assert after.steps == list(range(8))
    check(after, after.heads[4], wanted)
    assert bool(after.masters) == (level == "O2")


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_mixed_precision_of_paddledetection(det, level, monkeypatch):
    path = det.config(rifle=RIFLE, epoch=2, use_gpu=True, amp=True, amp_level=level, use_ema=False)
    wanted = drawn("det", path)
    recording(monkeypatch, step=4)
    _, _, after = det.train(path)
    assert [e["step"] for e in det.events(path, "reset")] == [4]
    check(after, {name: after.values[4][name] for name in wanted}, wanted)
    assert bool(after.masters) == (level == "O2")


def recording(monkeypatch, step):
    """Let the watchers keep the master weights they see before a step."""
    import det_runs
    import seg_runs

    for kind in (seg_runs.Watch, det_runs.DetWatch):
        seen = kind.on_step_begin

        def on_step_begin(self, run, now, seen=seen):
            seen(self, run, now)
            if now == step:
                self.masters = master_weights(run)

        monkeypatch.setattr(kind, "on_step_begin", on_step_begin)


def test_a_rate_for_each_layer(det):
    """PaddleDetection's AdamWDL, which Paddle has on a GPU only."""
    options = {
        "optimizer": {
            "type": "AdamWDL", "betas": [0.9, 0.999], "layer_decay": 0.75, "weight_decay": 0.02,
            "num_layers": 12, "filter_bias_and_bn": True, "skip_decay_names": ["pos_embed"],
            "set_param_lr_func": "layerwise_lr_decay",
        }
    }  # fmt: skip
    block = {**RIFLE, "re_init_iter": 3, "head_lr": "cyclic"}
    path = det.config(epoch=2, use_gpu=True, use_ema=False, rifle=block, OptimizerBuilder=options)
    records = []
    det.train(path, prepare=lambda t: records.append(Recorder(t.model, t.optimizer)))
    head = det.events(path, "reset")[0]["parameters"]
    replay.check(records[0], lambda model: OptimizerBuilder(**options)(0.1, model), head, 3)


@pytest.mark.parametrize("kind", ["Momentum", "AdamW"])
def test_everything_stays_where_it_was_and_nothing_is_added(seg, kind, monkeypatch):
    """Memory is counted after each call of the hook; places of parameters and optimizer state."""
    from rifle_ext.methods.rifle.hook import RifleHook

    theirs, grown = RifleHook.on_step_begin, {}

    def counted(self, run, step):
        before = paddle.device.cuda.memory_allocated()
        theirs(self, run, step)
        grown[step] = paddle.device.cuda.memory_allocated() - before

    monkeypatch.setattr(RifleHook, "on_step_begin", counted)
    places = []

    def noted(builder):
        made = builder.optimizer
        step = made.step

        def noting():
            step()
            state = made._accumulators.items()
            places.append({
                (key, name): str(tensor.place) for key, of in state for name, tensor in of.items()
            })  # fmt: skip

        made.step = noting
        return made

    options = {"type": kind, **({"momentum": 0.9} if kind == "Momentum" else {})}
    path = seg.config(iters=8, rifle=RIFLE, optimizer=options)
    model, _, _ = seg.train(path, optimizer=noted)
    assert {p.place.is_gpu_place() for p in model.parameters()} == {True}
    assert places[3] and places[3] == places[4] == places[-1]
    assert {step: added for step, added in grown.items() if added > 0} == {}
