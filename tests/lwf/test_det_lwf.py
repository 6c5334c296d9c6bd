"""Learning without Forgetting in PaddleDetection's trainers."""

import copy
import json

import numpy as np
import paddle
import pytest
import yaml
from det_runs import TINY, DetRuns, with_answers
from old_and_new import numpy
from seg_runs import same

from det_hooks import logs
from rifle_ext.errors import RifleError
from rifle_ext.methods.lwf import hook as lwf_hook
from rifle_ext.methods.lwf import old_head_file

pytestmark = pytest.mark.timeout(120)

CLASSES = [f"yolo_head.pred_cls.{level}.{key}" for level in range(3) for key in ("weight", "bias")]
READER = copy.deepcopy(TINY["TrainReader"])
READER.update(sample_transforms=[{"Decode": {}}], shuffle=False)
STEADY = {
    "base_lr": 0.01,
    "schedulers": [
        {"name": "CosineDecay", "max_epochs": 8},
        {"name": "LinearWarmup", "start_factor": 1.0, "steps": 1},
    ],
}


class Tasks:
    """A tiny PP-YOLOE on an old task of seven classes, then on five."""

    def __init__(self, det, old=None):
        self.det = det
        self.old = old or self._old(det)

    @staticmethod
    def _old(det):
        still = {**STEADY, "base_lr": 1e-9}
        path = det.config(
            "old.yml", num_classes=7, epoch=1, TrainReader=READER, use_ema=False, LearningRate=still
        )
        det.train(path, prepare=with_answers)
        return det.out(path) / "model_final"

    def config(self, block, name="new", **fields):
        fields = {"epoch": 3, "LearningRate": STEADY, "TrainReader": READER, **fields}
        fields.update({} if block == "plain" else {"lwf": block})
        return self.det.config(f"{name}.yml", pretrain_weights=str(self.old), **fields)

    def new(self, block, name="new", resume=None, prepare=None, fields=None, **arguments):
        """Fine-tune as the train tool does; returns what `DetRuns.train` does."""
        path = self.config(block, name, **(fields or {}))

        def load(trainer):
            if resume is None:
                trainer.load_weights(str(self.old))
            if prepare is not None:
                prepare(trainer)

        return self.det.train(path, resume=resume, prepare=load, **arguments)

    def out(self, name="new"):
        return self.det.folder / "output" / name

    def head(self, name="new", epoch="model_final"):
        return numpy(old_head_file.read(self.out(name) / f"{epoch}.pdparams")[1])


@pytest.fixture(scope="module")
def old(scenes, tmp_path_factory):
    """The trainings on the old task, done once."""
    return Tasks(DetRuns(scenes, tmp_path_factory.mktemp("old")))


@pytest.fixture
def tasks(det, old):
    return Tasks(det, old.old)


class Noting:
    """Gradients and losses of each step."""

    def __init__(self):
        self.gradients, self.losses, self.images = [], [], []

    def prepare(self, trainer):
        step = trainer.optimizer.step
        named = dict(trainer.model.named_parameters())

        def noting():
            graded = {n: p.grad for n, p in named.items() if p.grad is not None}
            self.gradients.append(numpy(graded))
            return step()

        trainer.optimizer.step = noting

        def before(layer, inputs):
            self.images.append({key: inputs[0][key] for key in ("image", "im_shape")})

        trainer.model.register_forward_pre_hook(before)
        trainer.model.register_forward_post_hook(
            lambda layer, inputs, made: self.losses.append(float(made["loss"]))
        )


def test_the_term_reaches_trunk_boxes_and_old_head(tasks, old, monkeypatch):
    seen = []
    monkeypatch.setattr(
        lwf_hook, "distillation", lambda *given: seen.append(given) or distillation(*given)
    )
    distillation = lwf_hook_distillation()
    gradients = {}
    for weight in (0, 2, 6):
        noting = Noting()
        fields = {"epoch": 1}
        tasks.new({"weight": weight}, f"w{weight}", prepare=noting.prepare, fields=fields)
        gradients[weight] = noting.gradients[0]
    added = {w: {n: gradients[w][n] - gradients[0][n] for n in gradients[0]} for w in (2, 6)}
    for name, gradient in added[2].items():
        assert np.allclose(3 * gradient, added[6][name], rtol=1e-2, atol=2e-4), name
    moved = {n for n, g in added[2].items() if np.abs(g).max() > 1e-7}
    assert moved.isdisjoint(CLASSES)
    assert moved & {f"yolo_head.pred_reg.{level}.weight" for level in range(3)}  # where sure
    assert any(n.startswith("backbone") for n in moved)
    answers, _, theirs, temperature, ignored = seen[0]
    assert (temperature, ignored) == (2.0, None)
    assert [(a.name.split(".")[1], a.kind, a.of_classes, a.sure_by) for a in answers] == [
        (f"pred_{what}", kind, what == "cls", 2 * level)
        for level in range(3)
        for what, kind in (("cls", "sigmoid"), ("reg", "distribution"))
    ]
    assert np.allclose(theirs[0].numpy(), teachers_first_answer(old, noting.images[0]), atol=1e-4)


def lwf_hook_distillation():
    from rifle_ext.distillation.loss import distillation

    return distillation


def teachers_first_answer(tasks, batch):
    """What the old model's own evaluation computes of a batch in its first output layer."""
    from det_runs import workspace_kept
    from ppdet.core.workspace import create, load_config

    with workspace_kept():
        cfg = load_config(str(tasks.det.folder / "old.yml"))
        model = create(cfg.architecture)
    model.set_state_dict(paddle.load(f"{tasks.old}.pdparams"))
    model.eval()
    made = []
    first = model.yolo_head.pred_cls[0]
    first.register_forward_post_hook(lambda layer, inputs, result: made.append(result.numpy()))
    images = batch["image"].shape[0]
    model({**batch, "scale_factor": paddle.ones([images, 2])})
    return made[0]


def test_weight_0_is_plain_fine_tuning_bit_for_bit(tasks):
    plain, _, _ = tasks.new("plain", "plain", fields={"use_ema": True})
    off, _, _ = tasks.new({"weight": 0}, "off", fields={"use_ema": True})
    assert same(numpy(plain.model.state_dict()), numpy(off.model.state_dict()))
    assert same(numpy(plain.ema.apply()), numpy(off.ema.apply()))


def test_the_term_is_in_the_loss_and_beside_it(tasks):
    noting = Noting()
    trainer, _, _ = tasks.new({"weight": 5}, prepare=noting.prepare, fields={"epoch": 1})
    told = [e["value"] for e in tasks.det.events(tasks.det.folder / "new.yml", "distillation")]
    assert len(told) == len(noting.losses) == 4
    logged = {k: list(v.deque) for k, v in trainer.status["training_staus"].meters.items()}
    for before, value, term, total in zip(
        noting.losses[::-1], told[::-1], logged["loss_lwf"][::-1], logged["loss"][::-1]
    ):
        assert term == pytest.approx(5 * value, rel=1e-4)
        assert total == pytest.approx(before + 5 * value, rel=1e-5)


def test_a_resumed_training_goes_on_exactly(tasks):
    block, fields = {"warm_up": "2 epochs"}, {"use_ema": True, "snapshot_epoch": 1}
    whole, _, _ = tasks.new(block, "whole", fields=fields)
    for epoch in ("0", "1"):
        resumed, _, after = tasks.new(
            block, f"from{epoch}", resume=tasks.out("whole") / epoch, fields=fields
        )
        assert after.steps[0] == 4 * (int(epoch) + 1)
        assert same(numpy(whole.model.state_dict()), numpy(resumed.model.state_dict()))
        assert same(tasks.head("whole"), tasks.head(f"from{epoch}"))
    old = numpy(paddle.load(f"{tasks.old}.pdparams"))
    held = {epoch: tasks.head("whole", epoch) for epoch in ("0", "1", "model_final")}
    assert sorted(held["0"]) == sorted(CLASSES)
    assert all(np.array_equal(held[e][n], old[n]) for e in ("0", "1") for n in CLASSES)
    assert not same(held["1"], held["model_final"])


def test_in_groups_each_old_tensor_has_the_rate_of_the_new_one(tasks):
    groups = [
        {"params": ["backbone"], "learning_rate": 0.1},
        {"params": ["pred_cls.1"], "learning_rate": 0.0},
    ]
    optimizer = {"type": "Momentum", "momentum": 0.9, "param_groups": groups}
    builder = {**TINY["OptimizerBuilder"], "optimizer": optimizer}
    tasks.new(None, fields={"epoch": 1, "OptimizerBuilder": builder})
    before, after = numpy(paddle.load(f"{tasks.old}.pdparams")), tasks.head()
    still = {name for name in CLASSES if np.array_equal(after[name], before[name])}
    assert still == {"yolo_head.pred_cls.1.weight", "yolo_head.pred_cls.1.bias"}


def test_the_old_model_for_the_toolkits_own_evaluation(tasks, capsys):
    """The export, loaded and evaluated by PaddleDetection for the old number of classes."""
    from det_runs import workspace_kept
    from ppdet.core.workspace import load_config
    from ppdet.engine import Trainer

    from rifle_ext.methods.lwf.export import export

    tasks.new(None, evaluate=True)
    output = tasks.out() / "old.pdparams"
    assert export(tasks.out() / "model_final", output)[1] == len(CLASSES)
    assert (tasks.out() / "best_model.pdlwf").is_file()
    content = yaml.safe_load((tasks.det.folder / "new.yml").read_text())
    content = {**content, "num_classes": 7, "lwf": False}
    truth = json.loads((tasks.det.scenes / "val.json").read_text())
    truth["categories"] += [{"id": 8, "name": "a"}, {"id": 9, "name": "b"}]
    (tasks.det.folder / "old.json").write_text(json.dumps(truth))
    for part in ("EvalDataset", "TestDataset"):
        content[part]["anno_path"] = str(tasks.det.folder / "old.json")
    path = tasks.det.folder / "evaluated.yml"
    path.write_text(yaml.safe_dump(content))
    with workspace_kept():
        trainer = Trainer(load_config(str(path)), mode="eval")
        trainer.load_weights(str(output))
        state = numpy(trainer.model.state_dict())
        trainer._reset_metrics = lambda: None  # which would forget the results
        capsys.readouterr()
        trainer.evaluate()
        results = trainer._metrics[0].get_results()["bbox"]
    assert len(results) == 12
    printed = logs.evaluation(capsys.readouterr().out.splitlines())
    assert printed == pytest.approx(max(0, results[0]), abs=6e-4)
    head = tasks.head()
    assert all(np.array_equal(state[n], head[n]) for n in CLASSES)
    (tasks.out() / "0.pdlwf").replace(tasks.out() / "model_final.pdlwf")  # of two steps
    with pytest.raises(RifleError, match="another state of model_final.pdparams than the one"):
        export(tasks.out() / "model_final", output)


def test_what_is_refused(tasks, det):
    with pytest.raises(RifleError, match="for 9 classes: yolo_head.pred_cls.0.weight has"):
        tasks.new({"num_classes": 9}, "nine")
    with pytest.raises(RifleError, match="the config names no pretrain_weights"):
        det.train(det.config("none.yml", lwf=None))
    with pytest.raises(RifleError, match="0.pdlwf: there is no such file: 0.pdparams was"):
        tasks.new("plain", "plain")
        tasks.new(None, resume=tasks.out("plain") / "0")
