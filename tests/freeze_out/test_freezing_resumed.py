"""A training that is resumed at any step is the uninterrupted one, bit for bit."""

import json

import numpy as np
import paddle
import pytest
from seg_runs import REPEATABLE, InOrder, same

from rifle_ext.runtime.patching import replaced

pytestmark = pytest.mark.timeout(180)

BLOCK = {
    "layers": "all",
    "t_0": 0.25,
    "how_scale": "squared",
    "lr": "own",
}  # of 12 steps: freezes after 1, 3, 7


def train(seg, out, optimizer=None, **arguments):
    more = {} if optimizer is None else {"optimizer": optimizer}
    path = seg.config(freeze_out=BLOCK, **REPEATABLE, **more)
    with replaced(paddle.io, DistributedBatchSampler=InOrder):
        seg.train(path, out=out, save_interval=1, keep_checkpoint_max=99, **arguments)


def saved(folder):
    """What a checkpoint holds: weights with statistics, state of the optimizer."""
    weights = paddle.load(str(folder / "model.pdparams"), return_numpy=True)
    state = paddle.load(str(folder / "model.pdopt"), return_numpy=True)
    state.pop("LR_Scheduler", None)
    return weights, state


@pytest.mark.parametrize(
    "optimizer",
    [
        {"type": "SGD", "momentum": 0.9, "weight_decay": 1e-3},
        {"type": "AdamW", "weight_decay": 0.01},
    ],
    ids=["Momentum", "AdamW"],
)
def test_resumed_at_any_step(seg, optimizer):
    train(seg, seg.out, optimizer)
    whole = saved(seg.out / "iter_12")
    freezes = [(e["step"], e["layers"]) for e in seg.events("freeze")]
    assert [step for step, _ in freezes] == [1, 3, 7]
    for step in (1, 3, 5, 8) if optimizer["type"] == "SGD" else (6,):
        out = seg.folder / f"from {step}"
        train(seg, out, optimizer, resume_model=str(seg.out / f"iter_{step}"))
        for wanted, found in zip(whole, saved(out / "iter_12")):
            assert same(wanted, found), step
        found = [(e["step"], e["layers"]) for e in seg.events("freeze", out=out)]
        assert found == [event for event in freezes if event[0] >= step]
        assert [e["step"] for e in seg.events("resume", out=out)] == [step]


def test_the_block_can_be_taken_out_again(seg):
    """A checkpoint of a resumed training still has the state of what is frozen."""
    train(seg, seg.out)
    again = seg.folder / "again"
    train(seg, again, resume_model=str(seg.out / "iter_8"))
    path = seg.config(batch_size=8, iters=14)
    _, _, after = seg.train(
        path, out=seg.folder / "plain", resume_model=str(again / "iter_12"), iters=14
    )
    kinds = {kind for kind, name in after.momenta[13] if name == "backbone.0.weight"}
    assert kinds == {"velocity"}
    assert not np.array_equal(
        after.others[12]["backbone.0.weight"], after.others[13]["backbone.0.weight"]
    )


def test_resumed_in_paddledetection(det):
    """Its average of the weights is not restored exactly, so that is left out; nor is its order."""
    block = {"layers": "all", "t_0": 0.25, "lr": "own"}
    small = {"snapshot_epoch": 1, "use_ema": False}
    det.train(whole := det.config("whole.yml", freeze_out=block, epoch=3, **small))
    resumed = det.config("resumed.yml", freeze_out=block, epoch=3, **small)
    _, _, after = det.train(resumed, resume=det.out(whole) / "1")
    assert after.steps == [8, 9, 10, 11]

    def events(path):
        return [(e["step"], e["layers"], e["part"]) for e in det.events(path, "freeze")]

    assert events(resumed) == [event for event in events(whole) if event[0] >= 8]
    named = json.loads(json.dumps(det.events(whole, "plan")[0]["layers"]))
    still = [n for layer in named if layer["freezes_at"] <= 8 for n in layer["parameters"]]
    first, last = (
        paddle.load(str(det.out(path) / f"{n}.pdparams"), return_numpy=True)
        for path, n in ((whole, 1), (resumed, "model_final"))
    )
    assert still and all(np.array_equal(first[name], last[name]) for name in still)
