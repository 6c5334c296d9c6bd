"""Two processes that train together: the same values on every rank, resets, freezing and all."""

import json

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT
from launching import launch

from rifle_ext.commands.training_options import toolkits
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.redraw.reset import reinitialize
from rifle_ext.training.setup import Request

RIFLE = {
    "re_init_iter": 2, "max_re_num": 1, "warm_up": 1, "ramp": 1, "head_lr": {"scale": 2},
    "weight_initializer": "LSUV",  # by the batches of both
    "distill": True,
}  # fmt: skip


def seg_arguments(seg, **block):
    ready = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
    path = seg.config(
        model=ready["model"], loss=ready["loss"], iters=4, batch_size=2, rank_record=1,
        **(block or {"rifle": RIFLE}),
    )  # fmt: skip
    flags = ["--config", path, "--device", "cpu", "--save_dir", seg.folder / "out"]
    return ["seg", seg.folder, *flags], seg.folder / "out/rifle_events.jsonl"


def det_arguments(det, *flags, **block):
    path = det.config(epoch=2, rank_record=1, **(block or {"rifle": RIFLE}))
    return ["det", det.folder, "-c", path, *flags], det.out(path) / "rifle_events.jsonl"


# PaddleSeg uses `paddle.distributed.fleet` by itself, PaddleDetection when told to.
@pytest.mark.parametrize(
    ("toolkit", "flags", "machines"),
    [("seg", [], 1), ("seg", [], 2), ("det", ["--fleet"], 1), ("det", [], 2)],
)
def test_both_ranks_have_the_same_values(toolkit, flags, machines, request):
    runs = request.getfixturevalue(toolkit)
    arguments, events = {"seg": seg_arguments, "det": det_arguments}[toolkit](runs, *flags)
    code, logs = launch(runs.folder, *arguments, machines=machines)
    assert code == 0, logs[-3000:]
    first, second = (json.loads((runs.folder / f"rank{r}.json").read_text()) for r in (0, 1))
    assert list(first) == ["0", "1", "2", "3"]
    assert first == second
    assert first["2"] != first["1"]
    told = [json.loads(line)["event"] for line in events.read_text().splitlines()]
    many = {"calibrated", "distillation"}
    assert [kind for kind in told if kind not in many] == ["plan", "reset", "end"]
    assert many <= set(told)


FREEZING = {"layers": "all", "t_0": 0.25, "lr": "own"}


@pytest.mark.parametrize(("toolkit", "flags"), [("seg", []), ("det", []), ("det", ["--fleet"])])
def test_both_ranks_go_on_where_layers_freeze(toolkit, flags, request):
    """What gathers gradients must not wait for those of frozen layers, and gather the others'."""
    runs = request.getfixturevalue(toolkit)
    arguments, events = {"seg": seg_arguments, "det": det_arguments}[toolkit](
        runs, *flags, freeze_out=FREEZING
    )
    code, logs = launch(runs.folder, *arguments)
    assert code == 0, logs[-3000:]
    first, second = (json.loads((runs.folder / f"rank{r}.json").read_text()) for r in (0, 1))
    assert list(first) == ["0", "1", "2", "3"]
    assert first == second
    assert len({first[step] for step in "123"}) == 3  # PaddleDetection's first rate is 0
    frozen = [e for e in map(json.loads, events.read_text().splitlines()) if e["event"] == "freeze"]
    assert [e["step"] for e in frozen] == [1, 2, 3]


def test_a_rank_that_differs_stops_the_run(seg):
    arguments, _ = seg_arguments(seg)
    code, logs = launch(seg.folder, *arguments, ODD_RANK="1")
    assert code != 0
    assert "reset 1 after iteration 2: rank 1 has other values than rank 0" in logs


def test_the_plan_survives_a_conversion_to_synchronous_batch_normalization(seg):
    """On several GPUs both toolkits convert the model, PaddleDetection after the plan is made."""
    path = seg.config()
    with toolkits()["seg"].load()(Request(str(path))) as (_, run):
        plan = Plan(parse_block({"layers": "head"}), run)
        converted = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(run.model)
        kinds = {type(layer).__name__ for layer in converted.sublayers()}
        assert "SyncBatchNorm" in kinds and "BatchNorm2D" not in kinds
        values = plan.draw(1)
        reinitialize(plan.selection.tensors, values)
        named = {**dict(converted.named_parameters()), **dict(converted.named_buffers())}
        assert {"head.1.weight", "head.1._mean", "head.1._variance"} <= set(values)
        for name, value in values.items():
            assert np.array_equal(named[name].numpy(), value.numpy()), name
