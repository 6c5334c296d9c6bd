"""Constructors that look into the weights they load: the second build gets them to look at."""

import numpy as np
import paddle
import pytest
import small
from paddleseg.cvlibs import manager
from seg_runs import same
from small import HEAD, fields

from rifle_ext.errors import RifleError

pytestmark = pytest.mark.timeout(120)


@manager.MODELS.add_component
class Looking(small.Small):
    """Loads a checkpoint in its constructor, as trainers of other toolkits write them."""

    def __init__(self, num_classes=6, path="", number=None):
        super().__init__(num_classes)
        checkpoint = paddle.load(path)
        weights = checkpoint["state_dict"]
        if number:
            self.number = checkpoint[number] + 1
        self.set_state_dict(weights)
        if "head.bias" in weights:
            self.head.bias.set_value(weights["head.bias"])


@pytest.fixture
def checkpoint(seg):
    path = str(seg.folder / "trained.pdparams")
    state = {n: p + 7 for n, p in small.Small().state_dict().items()}
    paddle.save({"state_dict": state, "epoch": 3}, path)
    return path


def test_what_a_constructor_looks_up_is_there_and_is_not_put_into_the_fresh_head(seg, checkpoint):
    described = {"path": checkpoint, "number": "epoch"}
    block = {**small.RIFLE, "layers": "outputs"}  # the loaded ones, too
    path = seg.config(**fields("Looking", block, described=described))
    _, before, after = seg.train(path)
    assert before.others[0]["head.bias"].min() > 5
    assert [e["parameters"] for e in seg.events("reset")] == [HEAD, HEAD]
    for step in (4, 8):
        assert (after.others[step]["head.bias"] == 0).all()
        assert np.abs(after.others[step]["head.weight"]).max() < 5
    assert not same(before.others[4], after.others[4])


def test_a_plan_without_the_file(seg):
    """`rifle-ext plan` downloads nothing: what would be in the file is as empty."""
    from rifle_ext.methods.rifle.block import RifleConfig
    from rifle_ext.methods.rifle.plan import Plan
    from rifle_ext.training.setup import Request
    from seg_hooks.plan import set_up

    path = seg.config(**fields("Looking", described={"path": "https://nowhere.invalid/x"}))
    with set_up(Request(str(path))) as (_, run):
        assert list(Plan(RifleConfig(), run).selection.parameters) == HEAD


def test_a_build_that_fails_all_the_same_is_said(seg, checkpoint, monkeypatch):
    class Once(small.Small):
        built = 0

        def __init__(self, num_classes=6):
            super().__init__(num_classes)
            Once.built += 1
            if Once.built > 1:
                raise KeyError("once only")

    monkeypatch.setitem(manager.MODELS.components_dict, "Once", Once)
    with pytest.raises(RifleError, match=r"config.yml: .*second time.*KeyError: 'once only'.*orig"):
        seg.train(seg.config(**fields("Once")))
