"""Two processes that train together: the same values on every rank, whatever the method does."""

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
BLOCKS = {
    "resets": {"rifle": RIFLE},
    "freezing": {"freeze_out": {"layers": "all", "t_0": 0.25, "lr": "own"}},
    "old_head": {"lwf": None},
    "odd": {"rifle": RIFLE},
}
LAUNCHES = {
    ("seg", 1): ["resets", "freezing", "old_head", "odd"],
    ("seg", 2): ["resets"],
    ("det", 1): ["resets", "freezing"],
    ("det", 2): ["resets", "freezing", "old_head"],
}
"""What is trained one after the other by the two ranks of a launch, on so many machines.

PaddleSeg uses `paddle.distributed.fleet` by itself, PaddleDetection when told to: on one machine.
"""


class Launched:
    """Code, logs and folder of a launch."""

    def __init__(self, toolkit, machines, runs):
        self.toolkit, self.folder, self.runs = toolkit, runs.folder, runs
        made = {"seg": self._seg, "det": self._det}[toolkit]
        flags = []
        for name in LAUNCHES[toolkit, machines]:
            record = {"name": name, **({"odd_rank": 1} if name == "odd" else {})}
            flags += ["--", *made(name, rank_record=record, **BLOCKS[name])]
            if (toolkit, machines) == ("det", 1):
                flags.append("--fleet")
        self.code, self.logs = launch(runs.folder, toolkit, runs.folder, *flags, machines=machines)

    def _seg(self, name, **fields):
        ready = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
        fields.update(loss=ready["loss"], iters=4, batch_size=2)
        model = ready["model"]
        if name == "old_head":
            model = {**model, "pretrained": str(old_of_seg(self.runs, model))}
        path = self.runs.config(f"{name}.yml", model=model, **fields)
        return ["--config", path, "--device", "cpu", "--save_dir", self.out(name)]

    def _det(self, name, **fields):
        if name == "old_head":
            fields["pretrain_weights"] = str(old_of_det(self.runs))
        return ["-c", self.runs.config(f"{name}.yml", epoch=2, **fields)]

    def out(self, name):
        """Where a training writes."""
        return self.folder / ("" if self.toolkit == "seg" else "output") / name

    def events(self, name):
        lines = (self.out(name) / "rifle_events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def digests(self, name, kind="rank"):
        """Of each step, what each of the ranks wrote."""
        return [json.loads((self.folder / f"{name}_{kind}{r}.json").read_text()) for r in (0, 1)]


def old_of_seg(seg, model):
    """Weights of an old task."""
    from paddleseg.cvlibs import Config

    from seg_hooks.rebuild import rebuild

    weights = seg.folder / "old.pdparams"
    paddle.save(rebuild(Config(str(seg.config("old.yml", model=model)))).state_dict(), str(weights))
    return weights


def old_of_det(det):
    """Weights of an old task that has something to say: outputs of PP-YOLOE begin at zero."""
    from det_runs import workspace_kept
    from ppdet.core.workspace import create, load_config

    with workspace_kept():
        model = create(load_config(str(det.config("old.yml"))).architecture)
    for name, parameter in model.named_parameters():
        if "pred_cls" in name and name.endswith("weight"):
            parameter.set_value(0.1 * paddle.randn(parameter.shape))
    weights = det.folder / "old.pdparams"
    paddle.save(model.state_dict(), str(weights))
    return weights


@pytest.fixture(scope="module")
def launched(scenes, tmp_path_factory):
    """Gives a launch, which is done once."""
    done = {}

    def of(toolkit, machines):
        if (toolkit, machines) not in done:
            if toolkit == "seg":
                from seg_runs import SegRuns as Runs
            else:
                from det_runs import DetRuns as Runs
            runs = Runs(scenes, tmp_path_factory.mktemp(f"{toolkit}{machines}"))
            done[toolkit, machines] = Launched(toolkit, machines, runs)
        return done[toolkit, machines]

    return of


ALL = list(LAUNCHES)


@pytest.mark.parametrize(("toolkit", "machines"), ALL)
def test_trainings_end_but_for_one_with_a_rank_that_differs(launched, toolkit, machines):
    of = launched(toolkit, machines)
    said = "reset 1 after iteration 2: rank 1 has other values than rank 0"
    if "odd" in LAUNCHES[toolkit, machines]:
        assert of.code != 0
        assert said in of.logs
        assert list(of.digests("odd")[0]) == ["0", "1"]
    else:
        assert of.code == 0, of.logs[-3000:]
        assert said not in of.logs


@pytest.mark.parametrize(("toolkit", "machines"), ALL)
def test_both_ranks_have_the_same_values(launched, toolkit, machines):
    of = launched(toolkit, machines)
    first, second = of.digests("resets")
    assert list(first) == ["0", "1", "2", "3"]
    assert first == second
    assert first["2"] != first["1"]
    told = [event["event"] for event in of.events("resets")]
    many = {"calibrated", "distillation"}
    assert [kind for kind in told if kind not in many] == ["plan", "reset", "end"]
    assert many <= set(told)


def launches_of(name):
    return [launch for launch in LAUNCHES if name in LAUNCHES[launch]]


@pytest.mark.parametrize(("toolkit", "machines"), launches_of("freezing"))
def test_both_ranks_go_on_where_layers_freeze(launched, toolkit, machines):
    """What gathers gradients must not wait for those of frozen layers, and gather the others'."""
    of = launched(toolkit, machines)
    first, second = of.digests("freezing")
    assert list(first) == ["0", "1", "2", "3"]
    assert first == second
    assert len({first[step] for step in "123"}) == 3  # PaddleDetection's first rate is 0
    events = of.events("freezing")
    assert [e["step"] for e in events if e["event"] == "freeze"] == [1, 2, 3]
    assert events[-1]["event"] == "end"


@pytest.mark.parametrize(("toolkit", "machines"), launches_of("old_head"))
def test_both_ranks_have_the_same_model_and_old_head(launched, toolkit, machines):
    of = launched(toolkit, machines)
    first, second = of.digests("old_head")
    assert list(first) == ["0", "1", "2", "3"] and first == second
    heads, _ = of.digests("old_head", "heads")
    assert len({heads[step] for step in "123"}) == 3  # it learns, by the gradients of both
    assert list(of.out("old_head").rglob("*.pdlwf"))
    assert of.events("old_head")[-1]["event"] == "end"


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
