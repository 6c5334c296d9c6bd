"""What Learning without Forgetting keeps beside PaddleSeg's checkpoints: resumed, and exported."""

import numpy as np
import paddle
import pytest
from old_and_new import CLASSES, Tasks, Tied, TinyLoaded, Twice, numpy
from seg_runs import same

from rifle_ext import cli
from rifle_ext.errors import RifleError
from rifle_ext.methods.lwf import old_head_file
from rifle_ext.methods.lwf.export import export

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def same_order(monkeypatch):
    """PaddleSeg shuffles a resumed training as if it began; so let all epochs be alike."""
    iterate = paddle.io.DistributedBatchSampler.__iter__

    def alike(self):
        self.epoch = 0
        return iterate(self)

    monkeypatch.setattr(paddle.io.DistributedBatchSampler, "__iter__", alike)


def test_the_checkpoint_holds_the_new_model_and_the_old_head_lies_beside_it(tasks):
    model, _, _ = tasks.new(None, use_ema=True, keep_checkpoint_max=2)
    folder = tasks.seg.folder / "new"
    saved = numpy(paddle.load(str(folder / "iter_12/model.pdparams")))
    state = numpy(model.state_dict())
    assert same(saved, {n: v for n, v in state.items() if "total_" not in n})  # counted afterwards
    head = tasks.head()
    assert sorted(head) == sorted(CLASSES)
    assert head["head.3.weight"].shape == (8, 8, 1, 1)
    beside = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.pdlwf"))
    assert beside == [
        f"iter_{step}/{name}.pdlwf" for step in (12, 8) for name in ("ema_model", "model")
    ]


GROUPS = [{"name": "backbone", "lr_mult": 0.1}, {"name": "weight", "weight_decay_mult": 2.0}]


@pytest.mark.parametrize(
    "optimizer",
    [
        {"type": "SGD", "momentum": 0.9},
        {"type": "Momentum", "weight_decay": 0.01, "custom_cfg": GROUPS},
    ],
)
def test_a_resumed_training_goes_on_exactly(tasks, same_order, optimizer):
    block = {"warm_up": 6}  # from the middle of the warm-up, and from after it
    fields = {"optimizer": optimizer}
    whole, _, _ = tasks.new(block, "whole", fields=fields, save_interval=2, keep_checkpoint_max=9)
    for step in (4, 8):
        name = f"from{step}"
        folder = str(tasks.seg.folder / f"whole/iter_{step}")
        resumed, _, watched = tasks.new(block, name, fields=fields, resume_model=folder)
        assert watched.steps[0] == step
        assert same(numpy(whole.state_dict()), numpy(resumed.state_dict())), step
        assert same(tasks.head("whole"), tasks.head(name)), step
        kinds = [e["event"] for e in tasks.seg.events(out=tasks.seg.folder / name)]
        assert kinds[:2] == ["plan", "resume"]


def test_a_checkpoint_without_an_old_head_cannot_be_resumed(tasks):
    tasks.new("plain", "plain")
    with pytest.raises(RifleError, match="resumed: .*model.pdlwf: there is no such file: "):
        tasks.new(None, resume_model=str(tasks.seg.folder / "plain/iter_8"))


def test_a_checkpoint_can_be_resumed_without_the_block(tasks):
    tasks.new(None)
    _, _, after = tasks.new("plain", "after", resume_model=str(tasks.seg.folder / "new/iter_8"))
    assert after.steps == [8, 9, 10, 11]


def test_the_old_model_for_the_toolkits_own_tools(tasks, capsys):
    """The export is the old head on the new trunk, in a file of the old model's shapes."""
    model, _, _ = tasks.new(None)
    checkpoint, old = (
        tasks.seg.folder / "new/iter_12/model.pdparams",
        tasks.seg.folder / "o/x.pdparams",
    )
    assert cli.main(["lwf-export", str(checkpoint), str(old)]) == 0
    assert "x.pdparams: 18 tensors, 4 of them of the old output layers" in capsys.readouterr().out
    exported, head = numpy(paddle.load(str(old))), tasks.head()
    assert all(np.array_equal(exported[n], v) for n, v in head.items())
    state = numpy(model.state_dict())  # with what was counted of it after the training
    trunk = {n: v for n, v in state.items() if n in exported and n not in head}
    assert same({n: v for n, v in exported.items() if n not in head}, trunk)
    loaded = TinyLoaded(8, pretrained=str(old))
    loaded.eval()
    image = paddle.rand([1, 3, 64, 64])
    model.eval()
    caught = []
    model.head[3].register_forward_pre_hook(lambda layer, inputs: caught.append(inputs[0]))
    model(image)
    old_head = paddle.nn.functional.conv2d(
        caught[0], paddle.to_tensor(head["head.3.weight"]), paddle.to_tensor(head["head.3.bias"])
    )
    answer = paddle.nn.functional.interpolate(old_head, [64, 64], mode="bilinear")
    assert np.allclose(loaded(image)[0].numpy(), answer.numpy(), atol=1e-5)
    assert cli.main(["lwf-export", str(tasks.old), str(old)]) == 2
    assert (
        "model.pdlwf: there is no such file: model.pdparams was not written by a training with an"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("kind", [Twice, Tied])
def test_a_tensor_of_several_names_is_learned_once_and_exported_under_each(seg, kind):
    tasks = Tasks(seg, kind.__name__)
    tasks.new(None, iters=2, save_interval=2)
    output = seg.folder / "kept.pdparams"
    export(seg.folder / "new/iter_2/model.pdparams", output)
    before, head = numpy(paddle.load(str(tasks.old))), tasks.head(step=2)
    assert not np.array_equal(head["head.3.weight"], before["head.3.weight"])
    loaded = numpy(kind(8, pretrained=str(output)).state_dict())
    assert same({name: loaded[name] for name in head}, head)


def test_an_export_that_cannot_be_written_leaves_everything_as_it_was(tmp_path, capsys):
    checkpoint, there = tmp_path / "model.pdparams", tmp_path / "old.pdparams"
    trunk, head = ({name: paddle.ones([2])} for name in ("trunk.weight", "head.weight"))
    paddle.save({**trunk, **head}, str(checkpoint))
    old_head_file.write(checkpoint, {**trunk, **head}, head)
    there.write_text("an older one")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.pdparams").symlink_to(checkpoint)
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    for output, said in (
        (checkpoint, "that file is exported; name another one"),
        (tmp_path / "link.pdparams", "that file is exported; name another one"),
        (tmp_path / "model.pdlwf", "that file is exported; name another one"),
        (tmp_path / "folder", "a folder; name a file"),
        (there / "old.pdparams", "cannot be written: "),
    ):
        assert cli.main(["lwf-export", str(checkpoint), str(output)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"[RIFLE] lwf-export: {output}: {said}"), line
        assert line.endswith("(rifle-ext explain export)")
        assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
        assert not list((tmp_path / "folder").iterdir())
    assert cli.main(["lwf-export", str(checkpoint), str(there)]) == 0
    assert set(paddle.load(str(there))) == {"trunk.weight", "head.weight"}
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in before} | {"folder"}
