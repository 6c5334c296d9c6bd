"""Only what is new is reset: outputs that came with the pretrained weights are left alone."""

import json

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT

from rifle_ext import cli
from rifle_ext.errors import RifleError
from rifle_ext.training.loading import loaded_into, loading_not_noted, note_loading

pytestmark = pytest.mark.timeout(180)

READY = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
HEADS = [f"seg_heads.{number}.conv_out" for number in range(3)]
BLOCK = {"re_init_iter": 2, "max_re_num": 1, "keep_last": 0}


@pytest.fixture
def liteseg(seg):
    """Configs of PP-LiteSeg that start from a file; the file holds what `keep` says."""

    def write(keep=lambda name: True, classes=6, pretrained=None, **fields):
        from paddleseg.cvlibs import Config, SegBuilder

        paddle.seed(5)
        config = Config(str(seg.config("source.yml", model=READY["model"])))
        state = SegBuilder(config).model.state_dict()
        saved = {
            name: t[:classes] if ".conv_out." in name else t
            for name, t in state.items()
            if keep(name)
        }
        path = seg.folder / "pretrained.pdparams"
        paddle.save(saved, str(path))
        model = {**READY["model"], "pretrained": pretrained or str(path)}
        return seg.config(model=model, loss=READY["loss"], iters=4, **fields)

    return write


def planned(capsys, toolkit, path, *more):
    assert cli.main(["plan", "--toolkit", toolkit, "-c", str(path), "--json", *more]) == 0
    said = capsys.readouterr().out
    return json.loads(said[said.index("{") :])


def reset_layers(events):
    (reset,) = events
    return sorted({name.rpartition(".")[0] for name in reset["parameters"]})


def without(*layers):
    return lambda name: name.rpartition(".")[0] not in layers


CASES = {
    "the whole model but one head": (without(HEADS[1]), 6, [HEADS[1]]),
    "the backbone alone": (lambda name: name.startswith("backbone"), 6, HEADS),
    "another number of classes": (lambda name: True, 5, HEADS),
}


@pytest.mark.parametrize("case", CASES)
def test_paddleseg(liteseg, seg, capsys, case):
    keep, classes, wanted = CASES[case]
    path = liteseg(keep, classes, rifle=BLOCK)
    plan = planned(capsys, "seg", path)
    assert [layer["name"] for layer in plan["layers"]] == wanted
    _, before, after = seg.train(path, save_interval=1)
    assert reset_layers(seg.events("reset")) == wanted
    kept = [f"{head}.weight" for head in HEADS if head not in wanted]
    assert seg.events("plan")[0]["loaded"] == {"parameters": kept, "are": "keep"}
    assert plan["loaded"] == {"parameters": kept, "are": "keep"}
    for name in kept:
        assert np.array_equal(before.others[2][name], after.others[2][name])
    # Resumed, the tool loads the same file before the checkpoint.
    seg.train(path, resume_model=str(seg.out / "iter_1"), out=seg.folder / "resumed")
    assert reset_layers(seg.events("reset", out=seg.folder / "resumed")) == wanted


def test_paddleseg_downloads(liteseg, seg, monkeypatch, capsys, tmp_path):
    from paddleseg.utils import seg_env, utils

    path = liteseg(without(HEADS[0]), pretrained="https://nowhere.invalid/w.pdparams", rifle=BLOCK)
    (warning,) = [w for w in planned(capsys, "seg", path)["warnings"] if "nowhere" in w]
    assert warning.startswith("https://nowhere.invalid/w.pdparams is not on this machine, so it is")
    kept = tmp_path / "home/nowhere.invalid/w.pdparams"  # where PaddleSeg keeps it once it is
    kept.parent.mkdir(parents=True)
    kept.write_bytes((seg.folder / "pretrained.pdparams").read_bytes())
    monkeypatch.setattr(seg_env, "PRETRAINED_MODEL_HOME", str(tmp_path / "home"))
    plan = planned(capsys, "seg", path)
    assert [layer["name"] for layer in plan["layers"]] == [HEADS[0]]
    local = str(seg.folder / "pretrained.pdparams")
    monkeypatch.setattr(utils, "download_file_and_uncompress", lambda *args, **kwargs: local)
    monkeypatch.setattr(utils, "download_pretrained_model", lambda url: local)
    seg.train(path)
    assert reset_layers(seg.events("reset")) == [HEADS[0]]


def test_every_output_was_loaded(liteseg, seg, said, capsys):
    path = liteseg(rifle={**BLOCK, "track": True})
    seg.train(path)
    message = "every output layer was loaded from pretrained weights, so none is new and nothing"
    assert f"[RIFLE] {message}" in said()
    assert seg.events("reset") == []
    assert [skip["why"] for skip in seg.events("skip")] == ["every output layer was loaded"]
    assert planned(capsys, "seg", path)["warnings"][0].startswith(message)


@pytest.mark.parametrize("block", [{"layers": "outputs"}, {"loaded": "redraw"}])
def test_loaded_outputs_can_be_redrawn_all_the_same(liteseg, seg, block):
    seg.train(liteseg(rifle={**BLOCK, **block}))
    assert reset_layers(seg.events("reset")) == HEADS


def test_loaded_outputs_can_be_restored(liteseg, seg):
    path = liteseg(without(HEADS[2]), rifle={**BLOCK, "loaded": "restore"})
    whole = dict(seg.train(path, save_interval=1)[2].others)
    loaded = paddle.load(str(seg.folder / "pretrained.pdparams"), return_numpy=True)
    assert reset_layers(seg.events("reset")) == HEADS
    for head in HEADS[:2]:
        assert not np.array_equal(whole[1][f"{head}.weight"], loaded[f"{head}.weight"])
        assert np.array_equal(whole[2][f"{head}.weight"], loaded[f"{head}.weight"])
    assert not np.array_equal(whole[2][f"{HEADS[2]}.weight"], whole[1][f"{HEADS[2]}.weight"])
    out = seg.folder / "resumed"
    resumed = seg.train(path, resume_model=str(seg.out / "iter_1"), out=out)[2].others
    for head in HEADS:
        assert np.array_equal(resumed[2][f"{head}.weight"], whole[2][f"{head}.weight"])


def test_what_is_restored_is_not_scaled_on_a_batch(liteseg, seg):
    """LSUV is for what is drawn anew."""
    block = {**BLOCK, "layers": "outputs", "loaded": "restore", "weight_initializer": "LSUV"}
    used = []

    def optimizer(builder):
        made = builder.optimizer
        step, named = made.step, dict(builder.model.named_parameters())

        def noting():
            used.append({head: named[f"{head}.weight"].numpy() for head in HEADS})
            return step()

        made.step = noting
        return made

    seg.train(liteseg(without(HEADS[2]), rifle=block), optimizer=optimizer)
    loaded = paddle.load(str(seg.folder / "pretrained.pdparams"), return_numpy=True)
    for head in HEADS[:2]:  # as the step after the reset computed with them
        assert np.array_equal(used[2][head], loaded[f"{head}.weight"])
    assert [e["parameter"] for e in seg.events("calibrated")] == [f"{HEADS[2]}.weight"]


CLASSES = [f"yolo_head.pred_cls.{level}" for level in range(3)]


def det_weights(det, keep):
    """A file with the weights of the tiny PP-YOLOE, as far as `keep` says."""
    trainer, _, _ = det.train(det.config("source.yml", epoch=1))
    state = {name: t for name, t in trainer.model.state_dict().items() if keep(name)}
    path = det.folder / "pretrained.pdparams"
    paddle.save(state, str(path))
    return path


def load_as_the_tool_does(trainer):
    trainer.load_weights(trainer.cfg["pretrain_weights"])


def test_paddledetection_brought_whole(det, capsys):
    weights = det_weights(det, without(*CLASSES))
    path = det.config(epoch=2, pretrain_weights=str(weights), rifle=BLOCK)
    plan = planned(capsys, "det", path)
    assert [layer["name"] for layer in plan["layers"]] == CLASSES
    det.train(path, prepare=load_as_the_tool_does)
    assert reset_layers(det.events(path, "reset")) == CLASSES
    assert len(det.events(path, "plan")[0]["loaded"]["parameters"]) == 6  # the boxes' outputs
    values = det.events(path, "reset")[0]["values"]
    # Resumed after the first epoch, before a reset: the tool loads no pretrained weights then.
    later = {**BLOCK, "re_init_iter": 6}
    path = det.config("later.yml", epoch=2, pretrain_weights=str(weights), rifle=later)
    det.train(path, prepare=load_as_the_tool_does)
    det.train(path, resume=det.out(path) / "0")
    first, again = det.events(path, "reset")
    assert first["digest"] == again["digest"]
    assert (first["values"], again["values"]) == (values, values)


def test_paddledetection_with_a_backbone_alone(det):
    weights = det_weights(det, lambda name: name.startswith("backbone"))
    path = det.config(epoch=1, pretrain_weights=str(weights), rifle=BLOCK)
    det.train(path, prepare=load_as_the_tool_does)
    assert set(reset_layers(det.events(path, "reset"))) > set(CLASSES)
    assert det.events(path, "plan")[0]["loaded"]["parameters"] == []


def test_paddledetection_downloads(det, monkeypatch):
    from ppdet.utils import checkpoint

    weights = det_weights(det, without(*CLASSES))
    monkeypatch.setattr(checkpoint, "get_weights_path", lambda url: str(weights))
    url = "https://nowhere.invalid/w.pdparams"
    path = det.config(epoch=1, pretrain_weights=url, rifle=BLOCK)
    det.train(path, prepare=load_as_the_tool_does)
    assert reset_layers(det.events(path, "reset")) == CLASSES


def test_a_resume_that_cannot_read_the_pretrained_weights_again_is_refused(det):
    weights = det_weights(det, without(*CLASSES))
    path = det.config(epoch=2, pretrain_weights=str(weights), rifle=BLOCK)
    det.train(path, prepare=load_as_the_tool_does)
    weights.unlink()
    with pytest.raises(RifleError, match="cannot be read again, so it cannot be told which output"):
        det.train(path, resume=det.out(path) / "0")
    path = det.config(epoch=2, pretrain_weights=str(weights), rifle={**BLOCK, "layers": "outputs"})
    det.train(path, resume=det.out(path) / "0")


def test_weights_that_a_constructor_reads_by_itself_are_named(seg, capsys):
    """A reset would write them again, so it would not be one."""
    from small import FromArray

    described = {"type": FromArray.__name__, "num_classes": 6}
    planned_ = planned(capsys, "seg", seg.config(model=described, rifle={"re_init_iter": 4}))
    (warning,) = [w for w in planned_["warnings"] if "head.weight" in w]
    assert warning.startswith("head.weight: the same values each time the model is built, so a ")


class OwnSignature(paddle.nn.Layer):
    """A user's layer whose `state_dict` takes what Paddle's does not."""

    def __init__(self):
        super().__init__()
        self.out = paddle.nn.Linear(2, 2)

    def state_dict(self, destination):
        return {}


def test_noting_what_is_loaded_never_fails_where_loading_does_not():
    note_loading()
    layer = OwnSignature()
    layer.set_state_dict({"out.weight": paddle.ones([2, 2]), "out.bias": np.ones(2, "float32")})
    assert set(loaded_into(layer).values) == {"out.weight", "out.bias"}
    with loading_not_noted():
        other = paddle.nn.Linear(2, 2)
        other.set_state_dict({"weight": paddle.ones([2, 2]), "bias": paddle.ones([2])})
    assert loaded_into(other).values == {}
    other.set_state_dict(other.state_dict())  # its own tensors: nothing was loaded
    assert loaded_into(other).values == {}
