"""Learning without Forgetting in PaddleSeg's loop."""

import json

import numpy as np
import paddle
import pytest
from old_and_new import CLASSES, Tasks, TinyLoaded, numpy
from seg_runs import same

from rifle_ext import cli
from rifle_ext.methods.lwf import hook as lwf_hook

pytestmark = pytest.mark.timeout(120)


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
