"""The benchmark of transfer: its arms do what they say, on real models of both toolkits."""

import json
import sys

import numpy as np
import paddle
import pytest
from conftest import ROOT

from benchmarks.transfer import __main__ as runner
from benchmarks.transfer import data, fashion_scenes, outcome, settings, tricks
from benchmarks.transfer.statistics import compare, estimate, holm
from benchmarks.transfer.table import Results, arms_table
from rifle_ext.commands.training_options import toolkits
from rifle_ext.heads.outputs import tensors_in
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.schedule import make_schedule
from rifle_ext.training.setup import Request

PLACES = {
    "rifle-1": [0.5],
    "rifle-1-cyclic": [0.5],
    "rifle-1-normal": [0.5],
    "rifle-2": [1 / 3, 2 / 3],
    "rifle-3": [0.25, 0.5, 0.75],
    "rifle-3-cyclic": [0.25, 0.5, 0.75],
    "rifle-3-normal": [0.25, 0.5, 0.75],
    "rifle-1-at-10%": [0.1],
    "rifle-1-at-25%": [0.25],
    "rifle-1-at-75%": [0.75],
    "rifle-3-by-38%": [0.125, 0.25, 0.375],
}
CONFIGS = {"seg": "configs/seg/pp_liteseg.yml", "det": "configs/det/gfl.yml"}


@pytest.fixture(params=sorted(CONFIGS))
def run(request):
    config = str(ROOT / CONFIGS[request.param])
    with toolkits()[request.param].load()(Request(config, synthetic=True)) as (_, run):
        run.model.train()
        yield run


@pytest.fixture
def seg_run():
    config = str(ROOT / CONFIGS["seg"])
    with toolkits()["seg"].load()(Request(config, synthetic=True)) as (_, run):
        run.model.train()
        yield run


def outputs(run):
    paddle.seed(3)
    return [t.numpy() for t in tensors_in(run.forward()) if "float" in str(t.dtype)]


def differ(first, second):
    return any(not np.array_equal(a, b) for a, b in zip(first, second))


def output_weights(run):
    layers = tricks.output_layers(run)
    return [layer.weight for layer in layers.values() if hasattr(layer, "weight")]


def backward(run):
    floats = [t for t in tensors_in(run.forward()) if "float" in str(t.dtype)]
    sum(t.square().mean() for t in floats).backward()


def test_dropout_changes_training_outputs(run):
    before = outputs(run)
    tricks.HeadDropout(rate=0.5).on_train_begin(run)
    assert differ(before, outputs(run))


def test_dropconnect_changes_training_outputs_and_trains_the_weights(run):
    weights, before = output_weights(run), outputs(run)
    tricks.DropConnect(rate=0.5).on_train_begin(run)
    assert differ(before, outputs(run))
    backward(run)
    for weight, again in zip(weights, output_weights(run)):
        assert again is weight
        assert float(weight.grad.abs().sum()) > 0


def test_dropconnect_drops_its_share_of_the_weights(seg_run):
    def without_gradient():
        paddle.seed(0)
        backward(seg_run)
        shares = [float((w.grad == 0).astype("float32").mean()) for w in output_weights(seg_run)]
        seg_run.optimizer.clear_grad()
        return shares

    assert max(without_gradient()) < 0.1
    tricks.DropConnect(rate=0.5).on_train_begin(seg_run)
    assert without_gradient() == pytest.approx([0.5] * 3, abs=0.15)


def test_dropconnect_is_idle_in_evaluation(seg_run):
    image = paddle.rand([1, 3, 64, 64])
    seg_run.model.eval()
    before = seg_run.model(image)[0].numpy()
    tricks.DropConnect(rate=0.5).on_train_begin(seg_run)
    tricks.HeadDropout(rate=0.5).on_train_begin(seg_run)
    seg_run.model.eval()
    assert np.array_equal(seg_run.model(image)[0].numpy(), before)


def block_of(toolkit):
    if toolkit == "seg":
        from paddleseg.models.backbones.stdcnet import AddBottleneck

        return AddBottleneck(8, 8, block_num=2)
    from ppdet.modeling.backbones.cspresnet import BasicBlock

    return BasicBlock(8, 8)


@pytest.mark.parametrize("toolkit", sorted(CONFIGS))
def test_stochastic_depth_leaves_a_block_out_and_scales_it_up(seg_run, toolkit):
    block = block_of(toolkit)
    block.eval()
    x = paddle.rand([2, 8, 4, 4])
    whole = block(x).numpy()
    seg_run.model = paddle.nn.Sequential(("backbone", paddle.nn.Sequential(block)))
    tricks.StochasticDepth(rate=0.25).on_train_begin(seg_run)
    assert np.array_equal(block(x).numpy(), whole), "in evaluation"
    paddle.seed(1)
    block.training = True  # the normalization inside keeps its statistics
    seen = [block(x).numpy() for _ in range(60)]
    left_out = [np.array_equal(y, x.numpy()) for y in seen]
    assert 3 < sum(left_out) < 30
    for y, out in zip(seen, left_out):
        if not out:
            scaled = x.numpy() + (whole - x.numpy()) / 0.75
            assert np.allclose(y, scaled, atol=1e-5)


def test_stochastic_depth_refuses_a_model_without_residual_blocks(seg_run):
    with pytest.raises(ValueError, match="no residual blocks in PPLiteSeg"):
        tricks.StochasticDepth(rate=0.2).on_train_begin(seg_run)


def test_a_recreated_head_is_never_trained_again(run):
    run.total_steps = 10
    trick = tricks.RecreatedHead(resets=1)
    trick.on_train_begin(run)
    old = output_weights(run)
    trick.on_step_begin(run, 4)
    assert all(a is b for a, b in zip(output_weights(run), old))
    trick.on_step_begin(run, 5)
    new = output_weights(run)
    assert not any(a is b for a, b in zip(new, old))
    before = [weight.numpy() for weight in new]
    backward(run)
    run.optimizer.step()
    run.optimizer.clear_grad()
    assert all(np.array_equal(a, w.numpy()) for a, w in zip(before, new))


def test_cyclic_rates_restart_and_end_low(seg_run):
    run = seg_run
    run.total_steps = 40
    trick = tricks.CyclicRate(periods=4)
    trick.on_train_begin(run)
    parameter = next(p for p in run.model.parameters() if not p.stop_gradient)
    own = parameter.optimize_attr["learning_rate"]
    rates = []
    for step in range(40):
        trick.on_step_begin(run, step)
        rates.append(run.optimizer.get_lr() * parameter.optimize_attr["learning_rate"] / own)
    highest = max(rates)
    for start in (0, 10, 20, 30):
        assert rates[start] == highest
        assert rates[start + 9] < 0.05 * highest
        assert all(a > b for a, b in zip(rates[start : start + 9], rates[start + 1 : start + 10]))


@pytest.mark.parametrize("toolkit", sorted(CONFIGS))
def test_what_is_saved_for_fine_tuning_lacks_the_output_layers_alone(toolkit, tmp_path):
    file = str(tmp_path / "w.pdparams")
    config = str(ROOT / CONFIGS[toolkit])
    with toolkits()[toolkit].load()(Request(config, synthetic=True)) as (_, run):
        trick = tricks.SaveWithoutOutputs(file)
        trick.on_train_begin(run)
        trick.on_train_end(run)
        names = set(run.model.state_dict())
        layers = tuple(f"{name}." for name in tricks.output_layers(run))
    left_out = names - set(paddle.load(file))
    assert left_out == {name for name in names if name.startswith(layers)} != set()


def test_disturbed_labels():
    from benchmarks.transfer import det_parts, seg_parts

    np.random.seed(0)
    label = np.full((100, 100), 2, np.uint8)
    label[:10] = 255
    found = seg_parts.DisturbLabels(0.3, 6)({"label": label.copy()})["label"]
    assert found.dtype == np.uint8
    assert (found[:10] == 255).all()
    assert (found[10:] != 2).mean() == pytest.approx(0.3 * 5 / 6, abs=0.02)
    assert set(np.unique(found[10:])) == set(range(6))
    boxes = np.full((5000, 1), 3, np.int32)
    found = det_parts.DisturbLabels(0.3, 5).apply({"gt_class": boxes})["gt_class"]
    assert found.shape == (5000, 1)
    assert found.dtype == np.int32
    assert (found != 3).mean() == pytest.approx(0.3 * 4 / 5, abs=0.03)


def test_every_fine_tuning_has_a_config_of_its_own(tmp_path):
    runs = settings.experiments(5)
    assert len({run.key for run in runs}) == len(runs)
    assert {run.arm for run in runs} == set(settings.ARMS)
    few = [run for run in runs if run.seed == settings.SWEPT - 1]
    assert {run.model for run in few} == set(settings.TOOLKITS)
    configs = [settings.target_config(run, tmp_path / run.task, tmp_path / "w") for run in few]
    assert len({json.dumps(config) for config in configs}) == len(few)
    for run, config in zip(few, configs):
        steps = config.get("iters") or config["epoch"] * (data.SHOTS // settings.SHOTS_BATCH)
        assert steps == run.steps
        if "rifle" in config:
            block = parse_block(config["rifle"])
            schedule = make_schedule(block, run.steps, (data.SHOTS // settings.SHOTS_BATCH))
            places = [reset.step / run.steps for reset in schedule.resets]
            assert run.arm == "rifle" or places == pytest.approx(PLACES[run.arm], abs=0.01)


def test_few_scenes_are_disjoint_and_the_same_for_both_toolkits(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "SOURCE", 2)
    monkeypatch.setattr(data, "VAL", 2)
    folder = data.write(tmp_path, "digits") / "target"
    seen = []
    for seed in range(data.SEEDS):
        lines = (folder / f"few_{seed}.txt").read_text().splitlines()
        coco = json.loads((folder / f"few_{seed}.json").read_text())
        images = [line.split()[0] for line in lines]
        assert images == [f"images/{image['file_name']}" for image in coco["images"]]
        ids = {image["id"] for image in coco["images"]}
        assert {a["image_id"] for a in coco["annotations"]} == ids
        seen += images
    assert len(set(seen)) == len(seen) == data.SHOTS * data.SEEDS


def made_up_items(split):
    """Grey shapes in place of Fashion-MNIST's, ten of each class."""
    rng = np.random.default_rng(len(split))
    images = np.zeros((100, 28, 28), np.uint8)
    for image in images:
        top, left = rng.integers(0, 12, 2)
        image[top : top + 15, left : left + 15] = rng.integers(40, 256, (15, 15))
    return images, np.arange(100, dtype=np.uint8) % 10


@pytest.fixture(params=["made up", "installed"])
def items(request, monkeypatch):
    if request.param == "made up":
        monkeypatch.setattr(fashion_scenes, "items", made_up_items)
    elif not data.available("fashion"):
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")


def test_scenes_of_clothes(items):
    scenes = list(fashion_scenes.make_scenes("target", "train", 20, 64, 0))
    for scene in scenes:
        assert set(np.unique(scene.mask)) - {0} == {class_id for class_id, _ in scene.boxes}
        for class_id, box in scene.boxes:
            inside = scene.mask[box.top : box.top + box.height, box.left : box.left + box.width]
            assert (inside == class_id).any()
    assert {class_id for scene in scenes for class_id, _ in scene.boxes} == {1, 2, 3, 4, 5}
    again = list(fashion_scenes.make_scenes("target", "train", 20, 64, 0))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(scenes, again))


def test_statistics():
    # By hand: mean 2, standard deviation 1, t of 2 degrees of freedom 4.3027.
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.30265 / np.sqrt(3), rel=1e-5)
    compared = compare([1.1, 2.2, 3.3], [1.0, 2.0, 3.0])
    assert compared.difference.mean == pytest.approx(0.2)
    assert (compared.wins, compared.seeds) == (3, 3)
    # t = 0.2 / (0.1 / sqrt(3)) = 3.4641 with 2 degrees of freedom.
    assert compared.p == pytest.approx(0.0742, abs=1e-4)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_movement_is_relative_and_by_stage():
    before = {
        "backbone.stem.w": np.array([3.0, 4.0]),
        "backbone.stages.0.a.w": np.array([1.0]),
        "backbone.stages.0.b.w": np.array([0.0]),
        "backbone.stages.1.a.w": np.array([2.0]),
    }
    after = {**before, "backbone.stages.0.b.w": np.array([0.5])}
    after["backbone.stem.w"] = np.array([3.0, 5.0])
    assert outcome.moved(before, after) == {
        "backbone.stem": 0.2,
        "backbone.stages.0": 0.5,
        "backbone.stages.1": 0.0,
    }


SMALL = [
    settings.Run("digits", "pp_liteseg", 12, "rifle-3", 1),
    settings.Run("digits", "gfl", 12, "rifle-1", 0),
]


@pytest.mark.timeout(240)
def test_the_command_from_the_data_to_the_results(tmp_path, monkeypatch, capsys):
    """Short trainings by both toolkits' tools; what is done is not done again."""
    monkeypatch.setattr(data, "SOURCE", 16)
    monkeypatch.setattr(data, "VAL", 2)
    monkeypatch.setattr(settings, "SOURCE_STEPS", {"pp_liteseg": 50, "gfl": 4})  # logged every 50
    monkeypatch.setattr(settings, "experiments", lambda seeds: SMALL)
    results = tmp_path / "runs.jsonl"
    flags = ["--work", str(tmp_path / "work"), "--results", str(results)]
    monkeypatch.setattr(sys, "argv", ["transfer", *flags])
    runner.main()
    assert "2 fine-tunings, 0 of them done" in capsys.readouterr().out
    lines = {line["key"]: line for line in runner.read(results)}
    keys = [run.key for run in SMALL]
    assert set(lines) == {*keys, "digits/pp_liteseg/source", "digits/gfl/source"}
    assert [lines[key]["resets"] for key in keys] == [[3, 6, 9], [6]]
    for key in keys:
        line = lines[key]
        assert 0 <= line["metric"] <= 1
        assert {int(step) for step in line["losses"]} <= set(range(1, 13)) != set()
        assert all(name.startswith("backbone.") for name in line["moved"])
        assert 0 < max(line["moved"].values()) < 1

    monkeypatch.setattr(runner, "train", lambda *args, **options: pytest.fail("done again"))
    runner.main()
    assert "2 fine-tunings, 2 of them done" in capsys.readouterr().out
    assert len(runner.read(results)) == 4


def test_results_survive_a_kill(tmp_path):
    results = tmp_path / "runs.jsonl"
    assert runner.read(results) == []
    runner._append(results, {"key": "a"})
    runner._append(results, {"key": "b"})
    with results.open("a") as file:
        file.write('{"key": "c", "met')
    assert [line["key"] for line in runner.read(results)] == ["a", "b"]
    runner._append(results, {"key": "d"})
    assert [line["key"] for line in runner.read(results)] == ["a", "b", "d"]


def test_an_arm_is_compared_over_the_seeds_that_plain_fine_tuning_has_too():
    def line(arm, seed, metric):
        about = {"task": "digits", "model": "gfl", "steps": 600, "key": f"{arm}/{seed}"}
        return {**about, "arm": arm, "seed": seed, "metric": metric, "resets": [], "losses": {}}

    lines = [line("plain", seed, 0.5 + seed / 100) for seed in range(3)]
    lines += [line("rifle-1", seed, 0.6 + seed / 50) for seed in range(4)]
    rows = arms_table(Results(lines), ("digits", "gfl", 600), ["plain", "rifle-1", "rifle-2"])
    assert rows[0].startswith("| arm | seeds | mAP |")
    assert rows[2].startswith("| plain | 3 | 0.510 ± 0.025 |")
    assert rows[3].startswith("| rifle-1 | 4 | 0.630 ± ")
    assert "**+0.110 ± 0.025**" in rows[3]
    assert rows[3].endswith("| 3 of 3 |")
    assert len(rows) == 4


def test_disturbed_labels_can_be_named_in_a_detector_s_config():
    from ppdet.data.reader import Compose

    from benchmarks.transfer import det_parts

    (operator,) = Compose([{"DisturbLabels": {"rate": 0.1, "num_classes": 5}}]).transforms_cls
    assert type(operator) is det_parts.DisturbLabels
