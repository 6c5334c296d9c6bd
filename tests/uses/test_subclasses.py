"""Classes of the user's own that derive from the toolkits', with other signatures and defaults."""

import pytest
from det_runs import workspace_kept
from paddleseg.cvlibs import Config, SegBuilder
from ppdet.core.workspace import load_config
from ppdet.engine import Trainer

from rifle_ext.errors import RifleError

pytestmark = pytest.mark.timeout(120)

RIFLE = {"re_init_iter": 4, "max_re_num": 1, "keep_last": 0}


class Mine(Trainer):
    def __init__(self, config, logger=None, mode=None):
        self.logger = logger
        super().__init__(config, mode=mode or "train")


class Plain(Trainer):
    """Takes no config at all, and trains in its own way."""

    def __init__(self, mode=3):
        self.mode = mode

    def train(self, rounds=2):
        return rounds + self.mode


class NoMethods(Trainer):
    __init__ = None
    train = property(lambda self: "trained")


class OwnLoop(Trainer):
    """With a config and a `train` of its own, but nothing that could call hooks."""

    def __init__(self, cfg):
        self.cfg = cfg

    def train(self):
        raise AssertionError("trained without the block")


def test_a_trainer_of_another_signature(det):
    for name, block in (("plain.yml", {}), ("block.yml", {"rifle": RIFLE})):
        path = det.config(name, epoch=2, snapshot_epoch=9, **block)
        det.train(path, trainer=lambda cfg, mode: Mine(cfg))
    assert [e["step"] for e in det.events(path, "reset")] == [4]


def test_without_a_block_nothing_of_ours_runs():
    assert Plain().train() == 5
    assert NoMethods.__new__(NoMethods).train == "trained"
    with pytest.raises(TypeError, match="unexpected keyword"):
        Plain(cfg={"rifle": 3})
    with pytest.raises(TypeError, match="missing 2 required positional arguments"):
        from paddleseg.core import train

        train()


def test_a_trainer_that_cannot_heed_a_block_says_what_it_lacks(det):
    with workspace_kept():
        cfg = load_config(str(det.config(rifle=RIFLE)))
        with pytest.raises(RifleError, match="OwnLoop has no model, optimizer, loader"):
            OwnLoop(cfg).train()


def test_configs_and_builders_of_other_signatures(seg):
    class MyConfig(Config):
        def __init__(self, *, file, extra=None):
            super().__init__(path=file)

    class MyBuilder(SegBuilder):
        @property
        def model(self):
            return None

    assert MyConfig(file=str(seg.config(rifle=RIFLE))).dic["rifle"] == RIFLE
    assert MyBuilder(MyConfig(file=str(seg.config()))).model is None


@pytest.mark.parametrize("base", [{"rifle": True}, {"rifle": {"seed": 3}}, {}])
def test_a_block_that_does_not_inherit(seg, base):
    seg.config("base.yml", **base)
    child = seg.folder / "child.yml"
    child.write_text("_base_: base.yml\nrifle: {_inherited_: false, max_re_num: 1}\n")
    assert Config(str(child)).dic["rifle"] == {"max_re_num": 1}


@pytest.mark.parametrize("option", ["rifle.max_re_num", "rifle"])
def test_options_that_are_no_assignments(seg, option):
    """Refused as PaddleSeg refuses its own."""
    with pytest.raises(AssertionError, match=rf"key=value.*{option}"):
        Config(str(seg.config(rifle=RIFLE)), opts=[option])
