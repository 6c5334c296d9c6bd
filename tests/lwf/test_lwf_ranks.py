"""Two processes that train together with an old head."""

import json

import paddle
import pytest
import yaml
from conftest import ROOT
from launching import launch
from old_and_new import Tasks
from seg_runs import same

from rifle_ext.methods.lwf import hook as lwf_hook
from seg_hooks.rebuild import rebuild

pytestmark = pytest.mark.timeout(240)


def seg_arguments(seg):
    from paddleseg.cvlibs import Config

    ready = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
    fields = {"loss": ready["loss"], "iters": 4, "batch_size": 2}
    old = seg.config("old.yml", model=ready["model"], **fields)
    weights = seg.folder / "old.pdparams"
    paddle.save(rebuild(Config(str(old))).state_dict(), str(weights))
    described = {**ready["model"], "pretrained": str(weights)}
    path = seg.config(model=described, lwf=None, rank_record=1, **fields)
    flags = ["--config", path, "--device", "cpu", "--save_dir", seg.folder / "out"]
    return ["seg", seg.folder, *flags]


def det_arguments(det):
    from det_runs import workspace_kept
    from ppdet.core.workspace import create, load_config

    with workspace_kept():
        model = create(load_config(str(det.config("old.yml"))).architecture)
    for name, parameter in model.named_parameters():
        if "pred_cls" in name and name.endswith("weight"):
            parameter.set_value(0.1 * paddle.randn(parameter.shape))
    weights = det.folder / "old.pdparams"
    paddle.save(model.state_dict(), str(weights))
    path = det.config(epoch=2, lwf=None, rank_record=1, pretrain_weights=str(weights))
    return ["det", det.folder, "-c", path]


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


@pytest.mark.parametrize("toolkit", ["seg", "det"])
def test_both_ranks_have_the_same_model_and_old_head(toolkit, request):
    runs = request.getfixturevalue(toolkit)
    arguments = {"seg": seg_arguments, "det": det_arguments}[toolkit](runs)
    code, logs = launch(runs.folder, *arguments)
    assert code == 0, logs[-3000:]
    first, second = (json.loads((runs.folder / f"rank{r}.json").read_text()) for r in (0, 1))
    assert list(first) == ["0", "1", "2", "3"] and first == second
    heads = json.loads((runs.folder / "heads0.json").read_text())
    assert len({heads[step] for step in "123"}) == 3  # it learns, by the gradients of both
    assert list(runs.folder.rglob("*.pdlwf"))
