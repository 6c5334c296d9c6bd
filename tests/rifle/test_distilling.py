"""The network before a reset as the teacher of the recovery, in both toolkits."""

import copy
import logging
import re

import numpy as np
import paddle
import pytest
from det_runs import TINY, with_answers
from old_and_new import numpy
from seg_runs import REPEATABLE, InOrder, TinySeg, same

from rifle_ext.errors import RifleError
from rifle_ext.heads.classes import load

pytestmark = pytest.mark.timeout(120)

BLOCK = {"re_init_iter": 4, "max_re_num": 1, "keep_last": 0, "head_lr": "none"}
SGD = {"optimizer": {"type": "SGD", "momentum": 0.0}}


@pytest.fixture
def same_order(monkeypatch):
    monkeypatch.setattr(paddle.io, "DistributedBatchSampler", InOrder)


class Noting:
    """Images, answers of the output layer and gradients of each step, before they are used."""

    def __init__(self):
        self.images, self.answers, self.gradients = [], [], []

    def optimizer(self, builder):
        made, model = builder.optimizer, builder.model
        step = made.step

        def noting():
            graded = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
            self.gradients.append(numpy(graded))
            return step()

        def note(layer, inputs, outputs):
            if model.training and len(self.answers) == len(self.gradients):
                self.answers.append(outputs.numpy())

        def image(layer, inputs):
            if layer is model and layer.training:
                self.images.append(inputs[0].numpy())

        made.step = noting
        model.register_forward_pre_hook(image)
        model.head[3].register_forward_post_hook(note)
        return made


def trained(seg, name, noting, distill):
    path = seg.config(f"{name}.yml", **REPEATABLE, **SGD, rifle={**BLOCK, "distill": distill})
    return seg.train(path, out=seg.folder / name, optimizer=noting.optimizer)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_the_term_is_the_formula_and_falls_to_zero(seg, same_order):
    """Cross-entropy with the network before the reset, at a weight that falls over the period."""
    held, free = Noting(), Noting()
    _, before, _ = trained(seg, "held", held, {"weight": 2})
    trained(seg, "free", free, False)
    file = seg.folder / "held/rifle_teacher_1.pdteacher"
    teacher = TinySeg(6, dropout=0.0)
    teacher.set_state_dict(paddle.load(str(file)))
    teacher.eval()
    kept = {n: p.numpy() for n, p in teacher.named_parameters()}
    assert same(kept, {**before.others[4], **before.heads[4]})
    told = seg.events("distillation", seg.folder / "held")
    assert [(e["step"], e["weight"]) for e in told] == [(s, 2 * (12 - s) / 8) for s in range(4, 12)]
    caught = []
    teacher.head[3].register_forward_post_hook(lambda layer, i, made: caught.append(made.numpy()))
    for event in told:
        teacher(paddle.to_tensor(held.images[event["step"]]))
        theirs, ours = softmax(caught[-1] / 2), softmax(held.answers[event["step"]] / 2)
        term = -(theirs * np.log(ours)).sum(1).mean()
        assert event["value"] == pytest.approx(term, rel=1e-4)
    assert all(same(held.gradients[s], free.gradients[s]) for s in range(4))
    # Of the first step after the reset, where both trainings have the same weights.
    assert np.array_equal(held.answers[4], free.answers[4])
    added = {n: held.gradients[4][n] - free.gradients[4][n] for n in free.gradients[4]}
    with_head = (softmax(held.answers[4] / 2) - softmax(caught[0] / 2)).sum((0, 2, 3))
    pixels = np.prod(held.answers[4][:, 0].shape)
    assert np.allclose(added["head.3.bias"], 2 * with_head / 2 / pixels, atol=1e-5)
    assert not added["aux.weight"].any() and added["backbone.0.weight"].any()


def test_a_number_is_the_weight_and_iterations_end_it(seg, same_order):
    held = Noting()
    trained(seg, "held", held, {"weight": 1, "iterations": 2})
    told = seg.events("distillation", seg.folder / "held")
    assert [(e["step"], e["weight"]) for e in told] == [(4, 1.0), (5, 0.5)]
    plan = seg.events("plan", seg.folder / "held")[0]
    assert plan["block"]["distill"] == {"weight": 1.0, "temperature": 2.0, "iterations": 2}


def test_a_training_resumed_in_the_middle_goes_on_exactly(seg, same_order):
    path = seg.config(**REPEATABLE, rifle={**BLOCK, "distill": True})
    whole, _, _ = seg.train(path, save_interval=2, keep_checkpoint_max=9)
    again, _, after = seg.train(
        path, out=seg.folder / "again", resume_model=str(seg.out / "iter_6"), save_interval=2
    )
    assert after.steps[0] == 6
    assert same(numpy(whole.state_dict()), numpy(again.state_dict()))
    told, resumed = seg.events("distillation"), seg.events("distillation", seg.folder / "again")
    assert resumed == [event for event in told if event["step"] >= 6]
    copied = seg.folder / "again/rifle_teacher_1.pdteacher"
    assert copied.read_bytes() == (seg.out / copied.name).read_bytes()
    (seg.out / "rifle_teacher_1.pdteacher").unlink()
    with pytest.raises(RifleError, match="rifle_teacher_1.pdteacher is in none of .*/output"):
        seg.train(path, out=seg.folder / "lost", resume_model=str(seg.out / "iter_6"))


def test_a_reset_may_keep_a_part(seg, same_order):
    """What is written is keep x old + (1 - keep) x fresh, in each parameter; state restarts."""
    whole = seg.config("whole.yml", **REPEATABLE, rifle=BLOCK)
    part = seg.config("part.yml", **REPEATABLE, rifle={**BLOCK, "keep": 0.4})
    _, before, fresh = seg.train(whole, out=seg.folder / "whole")
    _, again, mixed = seg.train(part, out=seg.folder / "part")
    assert same(before.heads[4], again.heads[4])
    for name, value in mixed.heads[4].items():
        wanted = 0.4 * before.heads[4][name] + 0.6 * fresh.heads[4][name]
        assert np.allclose(value, wanted, atol=1e-7), name
    assert all(
        not mixed.momenta[4][key].any() for key in mixed.momenta[4] if key[1] in mixed.heads[4]
    )
    assert same(before.others[4], mixed.others[4])


def test_a_detector(det):
    """Classes by yes or no, sides by distributions; exact when resumed."""
    reader = copy.deepcopy(TINY["TrainReader"])
    reader.update(sample_transforms=[{"Decode": {}}], shuffle=False)
    fields = {"epoch": 3, "snapshot_epoch": 1, "TrainReader": reader}
    path = det.config(rifle={"re_init_epoch": 1, "max_re_num": 1, "distill": True}, **fields)
    det.train(path, prepare=with_answers)
    told = det.events(path, "distillation")
    (reset,) = det.events(path, "reset")
    assert [(e["step"], e["weight"]) for e in told] == [(s, (12 - s) / 8) for s in range(4, 12)]
    assert reset["step"] == 4 and all(event["value"] > 0 for event in told)
    _, _, after = det.train(path, resume=str(det.out(path) / "1"))
    assert after.steps == [8, 9, 10, 11]
    resumed = det.events(path, "distillation")[len(told) :]
    assert [(e["step"], e["weight"]) for e in resumed] == [(s, (12 - s) / 8) for s in range(8, 12)]
    told_then = [event["value"] for event in told[4:]]
    assert [event["value"] for event in resumed] == pytest.approx(told_then, rel=1e-3)


def test_what_cannot_be_compared_is_refused(det):
    """Boxes that are sampled anew in each training step have no answers of the teacher's."""
    path = det.config("two.yml", ready="faster_rcnn", rifle={"distill": True})
    with pytest.raises(RifleError, match=r"two.yml: rifle.distill: .* is run on something else in"):
        det.train(path)


def test_a_wrong_block(seg):
    for value, said in (
        ("x", 'rifle.distill = "x": allowed is true, false, a number'),
        (-1, "rifle.distill = -1: allowed is true, false, a number"),
        ({"weight": "a"}, 'rifle.distill.weight = "a": allowed is a number, 0 or more'),
        ({"weight": True}, "rifle.distill.weight = true: allowed is a number, 0 or more"),
        ({"iterations": 0}, "rifle.distill.iterations = 0: allowed is auto or a whole number"),
    ):
        with pytest.raises(RifleError, match=said):
            seg.train(seg.config(rifle={"distill": value}))
    with pytest.raises(RifleError, match="rifle.keep = 1.1: allowed is a number from 0 to 1"):
        seg.train(seg.config(rifle={"keep": 1.1}))


@pytest.mark.parametrize("log_every", [1, 3])
def test_losses_are_logged_before_during_and_after_a_recovery(seg, det, caplog, log_every):
    """Both toolkits keep one sum for each loss that the first step of a log's interval has."""
    block = {**BLOCK, "distill": {"iterations": 3}}
    seg.train(seg.config(rifle=block), log_iters=log_every)
    assert [e["step"] for e in seg.events("distillation")] == [4, 5, 6]
    path = det.config(rifle=block, epoch=3, log_iter=log_every)
    logging.getLogger("ppdet.engine").addHandler(caplog.handler)
    det.train(path, prepare=with_answers)
    logging.getLogger("ppdet.engine").removeHandler(caplog.handler)
    assert [e["step"] for e in det.events(path, "distillation")] == [4, 5, 6]
    terms = [float(t) for t in re.findall(r"loss_rifle: ([\d.]+)", caplog.text)]
    assert terms[0] == 0 and max(terms) > 0


@pytest.mark.parametrize("steps", [4, 6, 8])
def test_resumed_at_a_reset_or_between_two(seg, same_order, steps):
    """The teacher is the network before the last one, whatever lies in the folder."""
    block = {**BLOCK, "max_re_num": 2, "distill": True}
    path = seg.config(**REPEATABLE, rifle=block)
    whole, _, _ = seg.train(path, save_interval=2, keep_checkpoint_max=9)
    other = seg.folder / "other"
    other.mkdir()
    paddle.seed(1)
    for index in (1, 2):  # of another training
        paddle.save(TinySeg(6).state_dict(), str(other / f"rifle_teacher_{index}.pdteacher"))
    checkpoint = str(seg.out / f"iter_{steps}")
    again, _, _ = seg.train(path, out=other, resume_model=checkpoint, save_interval=2)
    assert same(numpy(whole.state_dict()), numpy(again.state_dict()))


def test_a_teacher_that_cannot_be_kept_is_said(seg, said, monkeypatch):
    save = paddle.save

    def full(state, path, *args, **kwargs):
        if path.endswith(".part"):
            raise OSError("no space left on device")
        return save(state, path, *args, **kwargs)

    monkeypatch.setattr(paddle, "save", full)
    seg.train(seg.config(rifle={**BLOCK, "distill": True}))
    assert "rifle_teacher_1.pdteacher cannot be written, so this training cannot be" in said()
    assert len(seg.events("distillation")) == 8


def test_weights_of_a_training_in_mixed_precision_become_the_teachers():
    model = paddle.nn.Linear(2, 2)
    halves = {name: tensor.astype("float16") for name, tensor in model.state_dict().items()}
    load(model, halves)
    assert model.weight.dtype == paddle.float32
    assert np.array_equal(model.weight.numpy(), halves["weight"].astype("float32").numpy())
