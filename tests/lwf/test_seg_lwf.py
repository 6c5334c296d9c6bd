"""Learning without Forgetting in PaddleSeg's loop."""

import json

import numpy as np
import paddle
import pytest
from old_and_new import Tasks, Tied, TinyLoaded, Twice, numpy
from seg_runs import SegRuns, same

from rifle_ext import cli
from rifle_ext.errors import RifleError
from rifle_ext.methods.lwf import hook as lwf_hook
from rifle_ext.methods.lwf import old_head_file
from rifle_ext.methods.lwf.export import export

pytestmark = pytest.mark.timeout(120)

CLASSES = ["head.3.weight", "head.3.bias", "aux.weight", "aux.bias"]


@pytest.fixture(scope="module")
def old(scenes, tmp_path_factory):
    """The training on the old task, done once."""
    return Tasks(SegRuns(scenes, tmp_path_factory.mktemp("old"))).old


@pytest.fixture
def tasks(seg, old):
    return Tasks(seg, old=old)


@pytest.fixture
def same_order(monkeypatch):
    """PaddleSeg shuffles a resumed training as if it began; so let all epochs be alike."""
    iterate = paddle.io.DistributedBatchSampler.__iter__

    def alike(self):
        self.epoch = 0
        return iterate(self)

    monkeypatch.setattr(paddle.io.DistributedBatchSampler, "__iter__", alike)


class Noting:
    """What the gradients are after each backward pass, before the optimizer uses them."""

    def __init__(self):
        self.gradients, self.images = [], []

    def optimizer(self, builder):
        made = builder.optimizer
        step = made.step

        def noting():
            named = dict(builder.model.named_parameters())
            graded = {n: p.grad for n, p in named.items() if p.grad is not None}
            self.gradients.append(numpy(graded))
            return step()

        def image(layer, inputs):
            if layer is builder.model and layer.training:
                self.images.append(inputs[0].numpy())

        made.step = noting
        builder.model.register_forward_pre_hook(image)
        return made


def softmax(wanted, answers):
    shares, logs = paddle.nn.functional.softmax(wanted, 1), paddle.nn.functional.log_softmax
    return -(shares * logs(answers, 1)).sum(1).mean()


def sigmoid(wanted, answers):
    shares, ours = paddle.nn.functional.sigmoid(wanted), paddle.nn.functional.sigmoid(answers)
    return -(shares * ours.log() + (1 - shares) * (1 - ours).log()).sum(1).mean()


def by_hand(tasks, image, distance=softmax):
    """The distillation of the first step, with another model and no code of ours; its gradients."""
    teacher, student, old = (TinyLoaded(n, dropout=0.0) for n in (8, 6, 8))
    before = paddle.load(str(tasks.old))
    teacher.set_state_dict(before)
    old.set_state_dict(before)
    student.set_state_dict({n: v for n, v in before.items() if n not in CLASSES})
    teacher.eval()
    caught = {}
    for name, model in (("teacher", teacher), ("student", student)):
        model.head[3].register_forward_post_hook(
            lambda layer, inputs, made, name=name: caught.update({name: (inputs[0], made)})
        )
    teacher(image)
    student.train()
    student(image)
    term = distance(caught["teacher"][1].detach() / 2, old.head[3](caught["student"][0]) / 2)
    term.backward()
    trunk = {n: p.grad for n, p in student.named_parameters() if p.grad is not None}
    return float(term), numpy(trunk), numpy({n: p.grad for n, p in old.head[3].named_parameters()})


def test_the_loss_is_the_formula_and_its_gradient_reaches_trunk_and_old_head(tasks):
    plain, held = Noting(), Noting()
    tasks.new("plain", "plain", optimizer=plain.optimizer, iters=1)
    before = paddle.load(str(tasks.old))
    _, _, after = tasks.new({"weight": 3}, optimizer=held.optimizer, iters=1, save_interval=1)
    term, trunk, head = by_hand(tasks, paddle.to_tensor(held.images[0]))
    (told,) = tasks.seg.events("distillation", tasks.seg.folder / "new")
    assert told["value"] == pytest.approx(term, rel=1e-4)
    added = {n: held.gradients[0][n] - plain.gradients[0][n] for n in trunk}
    for name, gradient in trunk.items():
        assert np.allclose(added[name], 3 * gradient, rtol=1e-3, atol=1e-5), name
    for name in CLASSES:  # of the new head nothing
        assert np.array_equal(held.gradients[0][name], plain.gradients[0][name]), name
    rate = after.rate[0]
    kept = tasks.head(step=1)
    for key, gradient in head.items():
        stepped = before[f"head.3.{key}"].numpy() - rate * 3 * gradient
        assert np.allclose(kept[f"head.3.{key}"], stepped, rtol=1e-4, atol=1e-6), key
    assert np.array_equal(kept["aux.weight"], before["aux.weight"].numpy())


def test_no_gradient_reaches_the_teacher(tasks, monkeypatch):
    networks = []

    class Noted(lwf_hook.Teacher):
        def __init__(self, network, *arguments):
            super().__init__(network, *arguments)
            networks.append(network)

    monkeypatch.setattr(lwf_hook, "Teacher", Noted)
    tasks.new(None)
    (teacher,) = networks
    assert same(numpy(teacher.state_dict()), numpy(paddle.load(str(tasks.old))))
    assert all(p.grad is None for p in teacher.parameters())


def test_weight_0_is_plain_fine_tuning_bit_for_bit(tasks, said):
    model, _, after = tasks.new("plain", "plain", use_ema=True)
    off, _, watched = tasks.new({"weight": 0}, "off", use_ema=True)
    assert same(numpy(model.state_dict()), numpy(off.state_dict()))
    assert all(same(after.heads[step], watched.heads[step]) for step in range(12))
    assert "[LwF] weight = 0: plain fine-tuning" in said()
    assert not list((tasks.seg.folder / "off").rglob("*.pdlwf"))


def test_the_teacher_draws_nothing_and_leaves_no_trace(tasks):
    """With a weight that vanishes against the loss the training is, nearly, a plain one."""
    described = {"dropout": 0.5}
    plain, _, _ = tasks.new("plain", "plain", described=described)
    nearly, _, _ = tasks.new({"weight": 1e-30}, described=described)
    assert same(numpy(plain.state_dict()), numpy(nearly.state_dict()))
    assert not plain.head[3]._forward_post_hooks and not nearly.head[3]._forward_post_hooks


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


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_warm_up_the_new_head_learns_alone(tasks, optimizer):
    fields = {"optimizer": {"type": optimizer, "weight_decay": 0.05}}
    _, _, after = tasks.new({"warm_up": 3}, fields=fields, save_interval=1, keep_checkpoint_max=12)
    heads = {step: tasks.head(step=step) for step in range(1, 13)}
    for step in range(3):
        assert same(after.others[step], after.others[step + 1])
        assert not np.array_equal(*(after.heads[s]["head.3.weight"] for s in (step, step + 1)))
        assert same(heads[step + 1], heads[1])
    assert not same(after.others[3], after.others[4])
    assert not same(heads[3], heads[4])
    (moved,) = {n for n in heads[3] if not np.array_equal(heads[3][n], heads[12][n])} - {
        "head.3.bias"
    }
    assert moved == "head.3.weight"
    assert tasks.seg.events("plan", tasks.seg.folder / "new")[0]["warm_up"] == 3


@pytest.mark.parametrize(("warm_up", "warned"), [(12, True), ("6 epochs", True), (11, False)])
def test_a_warm_up_until_the_end_is_warned_of(tasks, said, capsys, warm_up, warned):
    tasks.new({"warm_up": warm_up})
    shown = json.dumps(warm_up)
    warning = f"lwf.warm_up = {shown}: nothing but the new output layers learns in this training"
    assert (warning in said()) == warned
    config = str(tasks.seg.folder / "new.yml")
    assert cli.main(["plan", "--toolkit", "seg", "-c", config]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (f"warning: {warning}" in out) == warned
    (recorded,) = tasks.seg.events("plan", tasks.seg.folder / "new")
    assert len(recorded["warnings"]) == int(warned)
    assert ("everything else learns, too" in out) != warned


def test_a_model_that_makes_its_own_losses(seg, old):
    tasks = Tasks(seg, "OwnLoss", old)
    noting = Noting()
    tasks.new({"weight": 1}, optimizer=noting.optimizer, iters=1)
    first = noting.images[0]  # and not the mirrored ones, on which it is run as well
    assert len(noting.images) == 2
    term, _, _ = by_hand(tasks, paddle.to_tensor(first))
    (told,) = seg.events("distillation", seg.folder / "new")
    assert told["value"] == pytest.approx(term, rel=1e-4)


def test_as_many_classes_as_before(tasks):
    """Then the toolkit begins the new head with the old one's values, as without the block."""
    path = tasks.config("same.yml", classes=8, described={"pretrained": str(tasks.old)}, lwf=None)
    _, _, after = tasks.seg.train(path, out=tasks.seg.folder / "same", iters=2, save_interval=2)
    assert tasks.seg.events("plan", tasks.seg.folder / "same")[0]["classes"] == 8
    before = paddle.load(str(tasks.old))
    assert np.array_equal(after.heads[0]["head.3.weight"], before["head.3.weight"].numpy())
    kept = tasks.head("same", step=2)
    assert not np.array_equal(kept["head.3.weight"], after.heads[1]["head.3.weight"])


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


def test_what_is_refused(tasks, seg):
    with pytest.raises(RifleError, match="the config names no pretrained weights of a whole model"):
        tasks.new(None, "none", described={"pretrained": None})
    weights = paddle.load(str(tasks.old))
    part = seg.folder / "part.pdparams"
    paddle.save({n: v for n, v in weights.items() if n.startswith("backbone")}, str(part))
    with pytest.raises(RifleError, match="it holds no head; name the weights of a whole model"):
        tasks.new({"teacher": str(part)}, "part")
    with pytest.raises(RifleError, match="for 5 classes: head.3.weight has the shape .8, 8, 1, 1."):
        tasks.new({"num_classes": 5}, "five")
    with pytest.raises(RifleError, match="missing.pdparams: there is no such file"):
        tasks.new({"teacher": str(seg.folder / "missing.pdparams")}, "missing")
    with pytest.raises(RifleError, match='"head.4" is no output layer that is compared'):
        tasks.new({"kinds": {"head.4": "none"}}, "kinds")
    with pytest.raises(RifleError, match="so there is nothing to keep"):
        tasks.new({"kinds": {"*": "none"}}, "nothing")
    with pytest.raises(RifleError, match="no answer can be caught in a model that is trained as a"):
        tasks.new(None, "static", to_static_training=True)
    with pytest.raises(RifleError, match="lwf and rifle exclude one another: with lwf.warm_up"):
        tasks.new({"warm_up": 2}, "both", fields={"rifle": {"re_init_iter": 4}})


def test_an_old_layer_that_is_not_compared_may_be_of_another_shape(seg):
    tasks = Tasks(seg, "TwoHeads")
    tasks.new({"kinds": {"second": "none"}}, iters=1, save_interval=1)
    before, kept = numpy(paddle.load(str(tasks.old))), tasks.head(step=1)
    assert np.array_equal(kept["second.weight"], before["second.weight"])
    assert not np.array_equal(kept["first.weight"], before["first.weight"])


def test_with_several_labels_a_pixel_each_pixel_counts(tasks):
    """Not those alone where the teacher is sure, as in detection."""
    held, several = Noting(), {"test_config": {"use_multilabel": True}}
    tasks.new(None, fields=several, optimizer=held.optimizer, iters=1)
    (told,) = tasks.seg.events("distillation", tasks.seg.folder / "new")
    term, _, _ = by_hand(tasks, paddle.to_tensor(held.images[0]), sigmoid)
    assert told["value"] == pytest.approx(term, rel=1e-4)


def test_a_model_whose_last_layer_stands_on_others_of_the_classes_is_refused(seg):
    tasks = Tasks(seg, "Tangled")
    with pytest.raises(RifleError, match="Tangled: what last answers depends on other layers"):
        tasks.new(None)


def test_the_reason_of_a_refusal_is_the_true_one(seg, old):
    with pytest.raises(RifleError, match="Sized: what last answers follows not from its input"):
        Tasks(seg, "Sized").new(None, "sized")
    said = r"lwf: in evaluation, as a teacher is, Heeding cannot be run on .*KeyError: 'history'"
    with pytest.raises(RifleError, match=said):
        Tasks(seg, "Heeding", old).new(None, "heeding")
    weights = {n: v for n, v in paddle.load(str(old)).items() if n != "aux.bias"}
    paddle.save({**weights, "aux.bias": paddle.zeros([9])}, str(seg.folder / "odd.pdparams"))
    said = "its tensors are of several numbers of classes: .* or say the number: lwf.num_classes"
    with pytest.raises(RifleError, match=said):
        Tasks(seg, old=old).new({"teacher": str(seg.folder / "odd.pdparams")}, "odd")


def test_beside_rifle_the_new_head_is_reset_and_the_old_one_is_not(tasks):
    block = {"re_init_iter": 4, "max_re_num": 1, "layers": "outputs"}
    tasks.new(None, fields={"rifle": block}, save_interval=1, keep_checkpoint_max=12)
    out = tasks.seg.folder / "new"
    (reset,) = tasks.seg.events("reset", out)
    assert reset["step"] == 4 and sorted(reset["parameters"]) == sorted(CLASSES)
    fourth, fifth = (tasks.head(step=step)["head.3.weight"] for step in (4, 5))
    assert 0 < np.abs(fourth - fifth).max() < 0.1
    assert {e.get("method") for e in tasks.seg.events(out=out)} == {None, "lwf"}


def test_a_trunk_that_is_not_the_teachers_is_said(tasks, said):
    tasks.new({"teacher": str(tasks.old)}, described={"pretrained": None}, iters=1)
    assert "14 tensors below the output layers do not begin with the teacher's values" in said()


def test_the_plan(tasks, capsys):
    described = {"pretrained": str(tasks.old)}
    path = tasks.config(described=described, lwf={"warm_up": "2 epochs"})
    arguments = ["plan", "--toolkit", "seg", "-c", str(path)]
    assert cli.main([*arguments, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["classes"], plan["warm_up"]) == (8, 4)
    assert plan["answers"] == [{"layer": "head.3", "old_head": True, "kind": "softmax"}]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "the answers of a network of 8 classes are kept in 1 output layers" in shown
    assert "after iteration 4: everything else learns, too" in shown
