"""`rifle-ext plan`: what it says is what a training does, and it does nothing else."""

import json
import os
import subprocess
import sys

import paddle
import pytest
import yaml
from conftest import ROOT
from paddle import nn
from paddleseg.cvlibs import manager
from processes import path_with

from rifle_ext import cli
from rifle_ext.commands.plan_text import show, timeline
from rifle_ext.commands.training_options import Looked, toolkits
from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.hook import RifleHook
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.redraw.reset import digest
from rifle_ext.training.plans import MethodPlan, Moment
from rifle_ext.training.registry import registered
from rifle_ext.training.setup import Request

pytestmark = pytest.mark.timeout(180)


@manager.MODELS.add_component
class OneValue(nn.Layer):
    """Two layers of one value each: one that is drawn, and one that is a constant."""

    def __init__(self, num_classes):
        super().__init__()
        self.backbone = nn.Conv2D(3, 1, 1)
        self.align = nn.Conv2D(1, 1, 1, bias_attr=False)
        constant = paddle.ParamAttr(initializer=nn.initializer.Constant(0.5))
        self.gain = nn.Conv2D(1, 1, 1, weight_attr=constant, bias_attr=False)
        self.out = nn.Conv2D(1, num_classes, 1)

    def forward(self, x):
        return [self.out(self.gain(self.align(self.backbone(x))))]


KEYS = [
    "toolkit", "model", "total_steps", "steps_per_epoch", "resets", "skipped", "layers", "values",
    "loaded", "recovery", "warnings",
]  # fmt: skip


def plan(capsys, toolkit, path, *more):
    """The JSON that the command prints."""
    assert cli.main(["plan", "--toolkit", toolkit, "-c", str(path), "--json", *more]) == 0
    said = capsys.readouterr().out
    return json.loads(said[said.index("{") :])


def without_block(path):
    """The config, without its `rifle:` block."""
    content = yaml.safe_load(path.read_text())
    content.pop("rifle", None)
    path.write_text(yaml.safe_dump(content))
    return path


def refused(capsys, toolkit, path, *more):
    """What the command says where it fails, without the topic of `rifle-ext explain`."""
    assert cli.main(["plan", "--toolkit", toolkit, "-c", str(path), *more]) == 2
    said, explain, _ = capsys.readouterr().err.splitlines()[-1].partition(" (rifle-ext explain ")
    assert explain
    return said


def test_the_plan_of_a_segmentation_is_what_its_training_does(seg, capsys):
    path = seg.config(rifle={"re_init_iter": 5, "max_re_num": 3, "seed": 4})
    planned = plan(capsys, "seg", path)
    assert list(planned) == KEYS
    assert (planned.pop("toolkit"), planned.pop("model")) == ("seg", "TinySeg")
    assert [r["step"] for r in planned["resets"]] == [5]
    assert [(r["index"], r["step"]) for r in planned["skipped"]] == [(2, 10), (3, 15)]
    assert all(set(r) == {"index", "step", "epoch", "why"} for r in planned["resets"])
    seg.train(path)
    (done,) = seg.events("plan")
    assert {key: done[key] for key in planned} == planned


@pytest.mark.parametrize("method", ["rifle", "freeze_out"])
def test_a_training_without_steps_has_no_plan(seg, det, capsys, method):
    for toolkit, path, option, epoch in (
        ("seg", seg.config(**{"rifle": None, method: {}}), "iters=0", 2),
        ("det", det.config(**{"rifle": None, method: {}}), "epoch=0", 4),
    ):
        said = f"nothing to train: 0 iterations in all, {epoch} iterations an epoch"
        message = refused(capsys, toolkit, path, "-o", option)
        assert message.startswith(f"[RIFLE] {path}: there is {said}"), message


def test_the_plan_of_a_detection_is_what_its_training_does(det, capsys):
    path = det.config(rifle={"re_init_epoch": 1, "max_re_num": 2}, epoch=3)
    planned = plan(capsys, "det", path)
    assert (planned.pop("toolkit"), planned.pop("model")) == ("det", "YOLOv3")
    det.train(path)
    (done,) = det.events(path, "plan")
    assert {key: done[key] for key in planned} == planned
    resets = det.events(path, "reset")
    assert [r["step"] for r in resets] == [r["step"] for r in planned["resets"]]


def test_tensors_are_described_as_they_are_drawn(det, capsys):
    planned = plan(capsys, "det", det.config(rifle=None), "--synthetic")
    tensors = {p["name"]: p for layer in planned["layers"] for p in layer["parameters"]}
    bias = tensors["yolo_head.pred_cls.0.bias"]
    assert set(bias) == {"name", "shape", "constant"}
    assert bias["constant"] == pytest.approx(-4.595, abs=0.001)
    assert sum(p["shape"] == [5] for p in tensors.values()) == 3
    drawn = {"weight_initializer": {"type": "Normal", "mean": 2.0, "std": 0.5}}
    planned = plan(capsys, "det", det.config(rifle=drawn), "--synthetic")
    tensors = {p["name"]: p for layer in planned["layers"] for p in layer["parameters"]}
    weight = tensors["yolo_head.pred_reg.0.weight"]
    assert set(weight) == {"name", "shape", "mean", "std"}
    assert weight["mean"] == pytest.approx(2.0, abs=0.02)
    assert weight["std"] == pytest.approx(0.5, abs=0.02)


def test_made_up_samples_find_the_layers_that_real_ones_find(seg, det, capsys):
    path = seg.config(rifle=None)
    real, made_up = plan(capsys, "seg", path), plan(capsys, "seg", path, "--synthetic")
    assert (real["layers"], real["values"]) == (made_up["layers"], made_up["values"])
    path = det.config(rifle=None)
    real, made_up = plan(capsys, "det", path), plan(capsys, "det", path, "--synthetic")
    assert (real["layers"], real["values"]) == (made_up["layers"], made_up["values"])


def test_the_size_of_the_made_up_data_set(seg, det, capsys):
    more = ["--synthetic", "--images", "40"]
    assert plan(capsys, "seg", seg.config(rifle=None), *more)["steps_per_epoch"] == 10  # of 4
    planned = plan(capsys, "det", det.config(rifle=None), *more)
    assert planned["total_steps"] == 4 * planned["steps_per_epoch"]
    assert planned["steps_per_epoch"] == 20  # of 2
    assert "allowed is" in refused(capsys, "seg", seg.config(), "--synthetic", "--images", "0")
    assert "of --synthetic, not given" in refused(capsys, "seg", seg.config(), "--images", "5")


def test_options_and_configs_without_a_block(seg, det, capsys):
    assert len(plan(capsys, "seg", seg.config())["resets"]) == 1
    assert len(plan(capsys, "det", det.config(), "--synthetic")["resets"]) == 1
    two = ["-o", "rifle.max_re_num=2", "-o", "rifle.seed=3"]
    assert len(plan(capsys, "seg", seg.config(), *two)["resets"]) == 2
    assert len(plan(capsys, "det", det.config(), "--synthetic", *two)["resets"]) == 2


def test_a_plan_without_a_block_says_whose_defaults_it_shows(seg, capsys):
    path = without_block(seg.config())
    assert cli.main(["plan", "--toolkit", "seg", "-c", str(path), "--synthetic"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "the config has no method's block; these are the defaults of rifle"
    without = plan(capsys, "seg", path, "--synthetic")
    assert without["defaults_of"] == "rifle"
    content = yaml.safe_load(path.read_text())
    content["loss"]["rifle"] = True
    path.write_text(yaml.safe_dump({**content, "riffle": {"max_re_num": 2}}))
    assert plan(capsys, "seg", path, "--synthetic")["warnings"] == [
        *without["warnings"],
        "riffle: no method has such a block; did you mean rifle?",
        "loss.rifle: a block does nothing there; put it at the config's top",
    ]


def test_keys_of_a_block_beside_it(seg, det, capsys):
    """As they stand where their indentation was forgotten."""
    for toolkit, runs in (("seg", seg), ("det", det)):
        path = runs.config(rifle=None, max_re_num=2, freezeout={"t_0": 0.5})
        planned = plan(capsys, toolkit, path, "--synthetic", "-o", "keep_last=3")
        assert "defaults_of" not in planned
        assert planned["warnings"][-3:] == [
            "freezeout: no method has such a block; did you mean freeze_out?",
            "max_re_num: not in the rifle block, so it does nothing; did you mean "
            "rifle.max_re_num?",
            "keep_last: not in the rifle block, so it does nothing; did you mean rifle.keep_last?",
        ]


def test_number_and_place_follow_the_learning_rate_of_the_config(seg, capsys):
    def planned(power, **block):
        schedule = {"type": "PolynomialDecay", "learning_rate": 0.01, "end_lr": 0, "power": power}
        path = seg.config(iters=20_000, lr_scheduler=schedule, rifle=block)
        found = plan(capsys, "seg", path)
        return [reset["step"] for reset in found["resets"]], found["warnings"]

    # 20,000 / (power + 1) steps at the peak rate in all, in equal shares where it falls fast.
    for power, number in ((4, 3), (5, 2), (9, 1)):
        steps, warnings = planned(power)
        shares = [1 - i / (number + 1) for i in range(1, number + 1)]
        wanted = [20_000 * (1 - share ** (1 / (power + 1))) for share in shares]
        assert steps == pytest.approx(wanted, abs=15)
        assert warnings == []
    assert planned(1) == planned(1, max_re_num=3) == ([5000, 10_000, 15_000], [])
    steps, warnings = planned(4, max_re_num=3)
    assert steps == [5000, 10_000, 15_000]
    (said,) = warnings
    assert said.startswith(
        "1 of 3 resets leave too little time: after iteration 15000 a fresh head is not expected "
    )
    steps, warnings = planned(6, re_init_iter=15_000, max_re_num=1, keep_last=0)
    assert warnings[0].startswith("the reset leaves too little time: after iteration 15000 a fresh")


def test_errors_are_one_line_that_names_file_and_remedy(seg, det, capsys, tmp_path):
    for toolkit, runs in (("seg", seg), ("det", det)):
        path = runs.config(rifle={"max_re_nun": 1})
        assert cli.main(["plan", "--toolkit", toolkit, "-c", str(path)]) == 2
        assert "did you mean max_re_num?" in capsys.readouterr().err
        path = runs.config(rifle={"layers": ["nothing"]})
        said = refused(capsys, toolkit, path)
        assert said.startswith(f'[RIFLE] {path}: rifle.layers: "nothing" matches no parameter')
    missing = tmp_path / "missing.yml"
    assert refused(capsys, "seg", missing) == f"[RIFLE] --config {missing}: there is no such file"
    path = seg.config()
    content = yaml.safe_load(path.read_text())
    content["train_dataset"]["train_path"] = "/nowhere/train.txt"
    path.write_text(yaml.safe_dump(content))
    assert refused(capsys, "seg", path).endswith("--synthetic makes a plan without data")
    path = det.config(TrainDataset={"name": "COCODataSet", "dataset_dir": "/nowhere",
                                    "image_dir": "x", "anno_path": "y.json"})  # fmt: skip
    assert refused(capsys, "det", path).endswith("--synthetic makes a plan without data")


@pytest.mark.parametrize("toolkit", ["seg", "det"])
def test_what_a_toolkit_cannot_set_up_ends_with_one_message(toolkit, seg, capsys, tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text("a: [1\n b")
    said = refused(capsys, toolkit, broken, "--synthetic")
    assert said.startswith(f"[RIFLE] {broken}: the training cannot be set up: "), said
    assert "expected ',' or ']'" in said and "line 2, column 3" in said
    option = "rifle.layers=[*.conv_out]"
    said = refused(capsys, toolkit, seg.config(), "-o", option)
    assert said.startswith(f"[RIFLE] --opts {option}: allowed is a value in YAML, globs in ")
    for option in ("nonsense", "=3"):
        said = refused(capsys, toolkit, seg.config(), "-o", option)
        assert said.startswith(f"[RIFLE] --opts {option}: allowed is key=value, as in ")


@pytest.mark.parametrize(("toolkit", "missing"), [("seg", "paddle"), ("det", "ppdet")])
def test_what_cannot_be_imported_is_one_message(toolkit, missing, tmp_path):
    (tmp_path / f"{missing}.py").write_text("import no_such_module\n")
    (tmp_path / "my.yml").write_text("iters: 1\narchitecture: YOLOv3\nmodel: {}\n")
    command = [sys.executable, "-m", "rifle_ext", "plan", "--toolkit", toolkit, "-c", "my.yml"]
    done = subprocess.run(
        command, cwd=tmp_path, text=True, capture_output=True, timeout=60,
        env={**os.environ, "PYTHONPATH": path_with(tmp_path, ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"[RIFLE] --toolkit {toolkit}: paddle or the toolkit cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such_module'; `rifle-ext doctor` says what is "
        "missing (rifle-ext explain package)"
    )


def test_an_error_of_another_packages_method_needs_no_topic(seg, capsys):
    def refusing(block, source):
        raise RifleError(f"{source}: elsewhere: not today")

    path = seg.config(rifle=None, elsewhere={})
    with registered(elsewhere=refusing):
        assert cli.main(["plan", "--toolkit", "seg", "-c", str(path), "--synthetic"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"[RIFLE] {path}: elsewhere: not today"


def test_false_switches_the_method_off(seg, capsys):
    path = seg.config(rifle=False)
    assert cli.main(["plan", "--toolkit", "seg", "-c", str(path)]) == 0
    assert "warning: rifle: false: the method is off" in capsys.readouterr().out
    planned = plan(capsys, "seg", path)
    assert set(planned) < set(KEYS)
    assert planned["layers"] == planned["resets"] == []


@pytest.mark.parametrize(
    ("toolkit", "config"), [("seg", "seg/pp_liteseg.yml"), ("det", "det/picodet.yml")]
)
def test_the_command_prints_json_alone_and_writes_and_downloads_nothing(toolkit, config, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*args): raise OSError('no network in this test')\n"
        "socket.socket.connect = refuse\n"
    )
    folder = tmp_path / "empty"
    folder.mkdir()
    url = "https://nowhere.invalid/weights.pdparams"
    pretrained = {"seg": f"model.backbone.pretrained={url}", "det": f"pretrain_weights={url}"}
    command = [sys.executable, "-m", "rifle_ext", "plan", "--toolkit", toolkit, "--synthetic",
               "--json", "-c", str(ROOT / "configs" / config),
               "-o", pretrained[toolkit]]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, text=True, capture_output=True, timeout=120,
        env={**os.environ, "HOME": str(folder), "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
             "PYTHONPATH": path_with(tmp_path, ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)) == KEYS
    # Importing the toolkits makes empty folders in the home folder.
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []


def test_text(capsys, seg):
    path = seg.config(rifle={"re_init_iter": 5, "max_re_num": 2})
    assert cli.main(["plan", "--toolkit", "seg", "-c", str(path)]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert "TinySeg: 4 tensors of 2 layers are reset, 252 values" in lines
    assert [line.split()[:5] for line in lines if "Conv2D" in line] == [
        ["head.3", "Conv2D", "weight", "6x8x1x1", "mean"],
        ["aux", "Conv2DTranspose", "weight", "8x6x2x2", "mean"],
    ]
    assert any(line.split() == ["bias", "6", "constant", "-4.6"] for line in lines)
    assert "12 iterations, 2 an epoch; 1 reset" in lines
    assert "0 ├─────────────────────────1────────────────────────×─────────┤ 12" in lines
    assert any(line.startswith("  1. after iteration 5 (epoch 3): ") for line in lines)
    assert any(line.startswith("  2. after iteration 10 (epoch 5): skipped, ") for line in lines)


def test_names_of_layers_stay_whole_however_long(capsys):
    names = ("head." + "a" * width for width in (40, 70, 130))
    rows = [(name, "Conv2DTranspose", "weight", "512x512x3x3", "mean 0.5, std 2") for name in names]
    columns = ("layer", "type", "tensor", "shape", "drawn")
    for given in (rows[:1], rows[:2], rows):
        planned = MethodPlan({}, columns=columns, rows=given)
        show(Looked("seg", "Model", 9, 3, ["rifle"], {"rifle": planned}, {}, 0))
        words = capsys.readouterr().out.split()
        for row in given:
            assert set(row[:4]) < set(words)


def test_the_timeline():
    def line(*resets, skipped=(), **options):
        moments = [Moment(step, str(i), "") for i, step in enumerate(resets, start=1)]
        moments += [Moment(step, "9", "", skipped=True) for step in skipped]
        return timeline(100, moments, width=10, **options)

    assert line() == "0 ├──────────┤ 100"
    assert line(1, 50, 99) == "0 ├1────2───3┤ 100"
    assert line(25, skipped=[80, 100, 300]) == "0 ├──1─────×─┤ 100"
    assert line(25, skipped=[80], ascii_only=True) == "0 |--1-----x-| 100"
    assert line(10, 11, 12) == "0 ├─1────────┤ 100"  # no room: the first one is shown


def test_the_model_is_built_once_for_each_reset(seg, monkeypatch):
    """And not once more to see whether it can be: the first reset uses that build."""
    import seg_hooks.training as training

    built = []
    rebuild = training.rebuild
    monkeypatch.setattr(training, "rebuild", lambda *args: built.append(1) or rebuild(*args))
    seen = []

    class Counting(RifleHook):
        def on_step_begin(self, run, step):
            super().on_step_begin(run, step)
            seen.append(len(built))

    monkeypatch.setattr("rifle_ext.methods.rifle.hook.RifleHook", Counting)
    seg.train(seg.config(rifle={"re_init_iter": 4, "max_re_num": 2, "keep_last": 0}))
    assert seen == [1] * 8 + [2] * 4


def test_values_drawn_ahead_are_those_drawn_later(seg):
    block = parse_block({"max_re_num": 2, "seed": 5})
    with toolkits()["seg"].load()(Request(str(seg.config()))) as (_, run):
        plan = Plan(block, run)
        ahead, later = plan.draw(1), plan.draw(1)
        assert digest(ahead) == digest(later) != digest(plan.draw(2))


def test_one_random_value_is_no_constant(seg, capsys):
    """A tensor of one value looks the same everywhere, drawn or not (PicoDet's `cls_align`)."""
    described = {"type": "OneValue", "num_classes": 6}
    planned = plan(capsys, "seg", seg.config(model=described, rifle={"layers": ["align", "gain"]}))
    align, gain = (layer["parameters"][0] for layer in planned["layers"])
    assert set(align) == {"name", "shape", "mean", "std"} and align["mean"] != 0
    assert (gain["name"], gain["constant"]) == ("gain.weight", 0.5)
