"""The transfer benchmark: regimes, data, settings, forked arms, results, from end to end."""

import json
from dataclasses import replace

import numpy as np
import paddle
import pytest
from conftest import ROOT

from benchmarks.transfer import __main__ as runner
from benchmarks.transfer import (
    arms,
    data,
    experiments,
    fashion_scenes,
    forking,
    outcome,
    records,
    regimes,
    settings,
    table,
    tricks,
)
from benchmarks.transfer.comparisons import Results
from benchmarks.transfer.places import MODELS, Place, Run
from benchmarks.transfer.regimes import REGIMES
from rifle_ext.commands.trial.records import append, is_done, read
from rifle_ext.commands.trial.statistics import compare, estimate, holm, smallest_effect
from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.schedule import make_schedule

RUNS = [run for experiment in experiments.EXPERIMENTS for run in experiment.runs()]


def test_wrong_classes_are_as_many_as_asked_for_and_really_wrong():
    classes = [1, 2, 3, 4, 5] * 20
    found = regimes.wrong_classes(classes, 0.4, [1, 2, 3, 4, 5], np.random.default_rng(0))
    assert sum(a != b for a, b in zip(classes, found)) == 40
    assert set(found) == {1, 2, 3, 4, 5}
    assert regimes.wrong_classes(classes, 0, [1, 2], np.random.default_rng(0)) == classes
    again = regimes.wrong_classes(classes, 0.4, [1, 2, 3, 4, 5], np.random.default_rng(0))
    assert again == found


def test_a_mask_follows_the_wrong_classes_object_by_object():
    mask = np.zeros((4, 8), np.uint8)
    mask[1:3, 1:3], mask[1:3, 5:7] = 2, 2
    boxes = [{"bbox": [1, 1, 2, 2], "category_id": 2}, {"bbox": [5, 1, 2, 2], "category_id": 2}]
    wrong = [boxes[0], {**boxes[1], "category_id": 4}]
    found = regimes.relabelled_mask(mask, boxes, wrong)
    assert (found[:, :4] == mask[:, :4]).all()
    assert (found[:, 4:] == 2 * mask[:, 4:]).all()


def test_imbalance_keeps_the_last_class_a_twentieth_as_often():
    assert regimes.frequencies([1, 2, 3], 16) == {1: 1, 2: 0.25, 3: 0.0625}
    images = [{"id": i} for i in range(4000)]
    objects = [{"image_id": i, "category_id": 1 + i % 2} for i in range(4000)]
    coco = {"images": images, "annotations": objects, "categories": [{"id": 1}, {"id": 2}]}
    kept = regimes.imbalanced(coco, 20, 2000, np.random.default_rng(0))
    assert sum(i % 2 for i in kept) / len(kept) == pytest.approx(1 / 21, abs=0.02)
    with pytest.raises(ValueError, match="are left, 4000 are wanted"):
        regimes.imbalanced(coco, 20, 4000, np.random.default_rng(0))


def test_overfit_takes_out_augmentation_and_decay_in_both_toolkits(tmp_path):
    for model, section, key in (
        ("pp_liteseg", "train_dataset", "transforms"),
        ("pp_liteseg_lite0", "train_dataset", "transforms"),
        ("gfl", "TrainReader", "sample_transforms"),
        ("ppyoloe_lite0", "TrainReader", "sample_transforms"),
    ):
        place = Place("digits", model, "overfit")
        config = settings.trunk_config(place, 0, tmp_path, tmp_path / "w")
        left = [t.get("type") or next(iter(t)) for t in config[section][key]]
        assert left in (["Normalize"], ["RandomPaddingCrop", "Normalize"], ["Decode", "Resize"])
        optimizer = config.get("optimizer") or config["OptimizerBuilder"]["optimizer"]
        assert optimizer == {"weight_decay": 0.0}
        clean = settings.trunk_config(replace(place, regime="clean"), 0, tmp_path, tmp_path / "w")
        assert key not in clean[section]
        assert not {"optimizer", "OptimizerBuilder"} & set(clean)


def test_every_arm_resets_where_it_says_and_its_control_never_does():
    for toolkit, chosen in arms.ARMS.items():
        for name, arm in chosen.items():
            blocks = arm.blocks(1200, seed=3)
            if name.endswith(arms.CONTROL):
                assert set(blocks) == {"trick"}
                twin = chosen[name[: -len(arms.CONTROL)]]
                assert arm.begins(1200) == twin.begins(1200)
                if not arm.defaults:
                    assert blocks["trick"]["after"] == arm.steps(1200)
                    rate = twin.blocks(1200, seed=3)["rifle"]["head_lr"]
                    assert {**blocks["trick"], **rate} == blocks["trick"]
                continue
            if not arm.places or not arm.must_reset:
                continue
            schedule = make_schedule(parse_block(blocks["rifle"]), 1200, 6)
            steps = [reset.step for reset in schedule.resets]
            assert steps == arm.steps(1200) != []
            assert arm.begins(1200) == steps[0]
            control = arms.control_of(toolkit, name)
            assert (control is None) == (arm.scale == 1)


def test_every_fine_tuning_has_a_key_and_settings_of_its_own():
    assert len({run.key for run in RUNS}) == len(set(RUNS)) == len(RUNS)
    few = [run for run in RUNS if run.seed == 1]
    digests = {settings.digest(run, runner.source_of(run.place)) for run in few}
    assert len(digests) == len(few)
    assert {run.place.data for run in RUNS} >= {"digits", "camvid", "bccd"}
    assert all("plain" in experiment.arms for experiment in experiments.EXPERIMENTS)


def test_a_digest_follows_what_a_run_does_and_nothing_else(monkeypatch, tmp_path):
    run = Run(Place("digits", "gfl", "overfit"), "one", 0)
    first = settings.digest(run, "s")
    assert settings.digest(run, "s") == first
    assert settings.digest(run, "t") != first
    assert settings.digest(replace(run, seed=1), "s") != first
    reworded = {"overfit": replace(REGIMES["overfit"], words="other words")}
    monkeypatch.setattr(settings, "REGIMES", {**REGIMES, **reworded})
    assert settings.digest(run, "s") == first
    monkeypatch.setattr(data, "VAL", 7)
    assert settings.digest(run, "s") != first


@pytest.mark.parametrize("toolkit", sorted(arms.ARMS))
def test_the_defaults_reset_after_they_are_forked_and_their_control_has_their_rates(toolkit):
    """Through a real model's plan: of the config that the package ships for its demo."""
    from rifle_ext.commands.training_options import toolkits
    from rifle_ext.methods.rifle.plan import Plan
    from rifle_ext.training.setup import Request

    config = {"seg": "configs/seg/pp_liteseg.yml", "det": "configs/det/gfl.yml"}[toolkit]
    arm = arms.ARMS[toolkit][arms.DEFAULT]
    with toolkits()[toolkit].load()(Request(str(ROOT / config), synthetic=True)) as (_, run):
        plan = Plan(parse_block(arm.blocks(run.total_steps, 0)["rifle"]), run)
        assert plan.schedule.resets[0].step >= arm.begins(run.total_steps)
        control = arms.control_of(toolkit, arms.DEFAULT)
        way = plan.recoveries[0]
        assert (control is None) == (way.scale == 1)
        if control:
            block = arms.ARMS[toolkit][control].blocks(run.total_steps, 0)["trick"]["block"]
            trick = tricks.RatesOnly(block)
            trick.on_train_begin(run)
            head = next(iter(plan.selection.parameters.values()))
            rates = []
            for step in range(way.start - 1, way.start + way.iterations + 1):
                trick.on_step_begin(run, step)
                rates.append(head.optimize_attr["learning_rate"])
            assert rates == [1.0, *[way.scale] * way.iterations, 1.0]


@pytest.fixture
def small(monkeypatch):
    """Data sets and trainings of seconds."""
    monkeypatch.setattr(data, "SOURCE", 16)
    monkeypatch.setattr(data, "VAL", 4)
    monkeypatch.setattr(data, "SEEDS", 2)
    for name, model in MODELS.items():
        monkeypatch.setitem(MODELS, name, replace(model, steps=12))
    monkeypatch.setattr(settings, "SOURCE_STEPS", {"pp_liteseg": 5})


def test_seeds_have_disjoint_scenes_the_same_for_both_toolkits(small, tmp_path):
    folder = data.prepare(tmp_path, "digits", None)
    seen = []
    for seed in range(2):
        for name in ("overfit", "noisy40"):
            data.write_few(folder, "digits", name, REGIMES[name], seed)
        coco = json.loads((folder / f"few/noisy40_{seed}.json").read_text())
        lines = (folder / f"few/noisy40_{seed}.txt").read_text().splitlines()
        images = [line.split()[0] for line in lines]
        assert images == [f"images/{image['file_name']}" for image in coco["images"]]
        seen += images
        few = (folder / f"few/overfit_{seed}.txt").read_text().split()[::2]
        assert few == images[: len(few)]
        check_labels(folder, coco, lines)
    assert len(set(seen)) == len(seen) == 2 * 96


def check_labels(folder, coco, lines):
    """Masks and boxes have the same classes, and two of five are wrong."""
    truth = {
        tuple(a["bbox"]) + (a["image_id"],): a["category_id"]
        for a in json.loads((folder / "target/train.json").read_text())["annotations"]
    }
    found = coco["annotations"]
    wrong = sum(truth[tuple(a["bbox"]) + (a["image_id"],)] != a["category_id"] for a in found)
    assert wrong == round(0.4 * len(found))
    for line, image in zip(lines, coco["images"]):
        mask = data.cv2.imread(str(folder / "target" / line.split()[1]), -1)
        classes = {a["category_id"] for a in found if a["image_id"] == image["id"]}
        assert set(np.unique(mask)) - {0} == classes


def test_photographs_are_taken_from_the_given_folder(small, tmp_path):
    given = tmp_path / "given"
    (given / "camvid").mkdir(parents=True)
    lines = [f"a{i}.jpg b{i}.png\n" for i in range(30)]
    for name in ("train", "test"):
        (given / f"camvid/{name}.txt").write_text("".join(lines))
    assert data.available("camvid", given)
    assert not data.available("bccd", given)
    assert not data.available("camvid", None)
    folder = data.prepare(tmp_path / "work", "camvid", given)
    data.write_few(folder, "camvid", "clean", REGIMES["clean"], 1)
    few = (folder / "few/clean_1.txt").read_text().splitlines(keepends=True)
    assert len(set(few)) == data.DATA["camvid"].few
    assert set(few) <= set(lines)
    assert (folder / "val.txt").read_text().splitlines(keepends=True) == lines[::2]
    assert sorted(p.name for p in given.iterdir()) == ["camvid"]


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
    elif not data.available("fashion", None):
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
    assert compared.spread == pytest.approx(0.1)
    assert (compared.wins, compared.seeds) == (3, 3)
    # t = 0.2 / (0.1 / sqrt(3)) = 3.4641 with 2 degrees of freedom.
    assert compared.p == pytest.approx(0.0742, abs=1e-4)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    alone = compare([1.0], [0.5])
    assert (alone.difference.mean, alone.seeds) == (0.5, 1)
    assert alone.p != alone.p


def test_the_smallest_effect_is_seen_in_four_of_five_trials():
    # 34 pairs for an effect of half a standard deviation: Cohen, "Statistical power analysis".
    assert smallest_effect(2.0, 34) == pytest.approx(1.0, abs=0.01)
    rng, seeds = np.random.default_rng(0), 5
    effect = smallest_effect(1.0, seeds)
    trials = rng.normal(effect, 1.0, (4000, seeds))
    t = trials.mean(1) / (trials.std(1, ddof=1) / np.sqrt(seeds))
    assert (t > 2.776445).mean() == pytest.approx(0.8, abs=0.02)


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


@pytest.mark.parametrize("model", ["pp_liteseg", "gfl"])
def test_a_forked_arm_is_that_arm_run_alone(model, small, tmp_path):
    """Bit for bit, in both toolkits, with all that it draws and adds to the loss."""
    place = Place("digits", model, "clean")
    run = Run(place, "distill", 1)
    scenes = data.prepare(tmp_path / "data", "digits", None)
    data.write_few(scenes, "digits", "clean", REGIMES["clean"], 1)
    paddle.save({"nothing": paddle.zeros([1])}, str(tmp_path / "w.pdparams"))
    config = settings.trunk_config(place, 1, scenes, tmp_path / "w.pdparams")
    branch = forking.Branch(run.what.begins(12), str(tmp_path / "forked"), run.blocks())
    forking.write(tmp_path / "branches.json", [branch])
    fork = {"branches": str(tmp_path / "branches.json"), "limit": 100, "trunk": False}
    for name, extra in (("trunk", {"fork": fork}), ("alone", run.blocks())):
        (tmp_path / name).mkdir()
        runner.train(place.toolkit, {**config, **extra}, tmp_path / name, 1, "cpu", 100)
    folders = [tmp_path / "forked", tmp_path / "alone"]
    forked, alone = (
        paddle.load(str(outcome.last_weights(folder)), return_numpy=True) for folder in folders
    )
    assert all(np.array_equal(forked[name], alone[name]) for name in alone)
    first, second = (outcome.resets(folder) for folder in folders)
    assert first == second != []
    assert not list((tmp_path / "trunk").rglob("*.pdparams"))  # it was not asked for


def test_the_command_runs_what_is_missing_or_was_run_otherwise(
    small, tmp_path, monkeypatch, capsys
):
    place = Place("digits", "pp_liteseg", "noisy40")
    wanted = experiments.Experiment(place, ("plain", "three", "three-control"), (0,))
    monkeypatch.setattr(experiments, "EXPERIMENTS", [wanted])
    results = tmp_path / "runs.jsonl"
    flags = ["--work", str(tmp_path / "work"), "--results", str(results), "--seeds", "0"]
    monkeypatch.setattr("sys.argv", ["transfer", *flags])
    runner.main()
    assert "3 fine-tunings, 0 of them done" in capsys.readouterr().out
    lines = read(results)
    assert set(lines) == {*(run.key for run in wanted.runs()), "digits/pp_liteseg/source"}
    plain, three, control = (lines[run.key] for run in wanted.runs())
    assert (plain["resets"], three["resets"], control["resets"]) == ([], [3, 6, 9], [])
    for line in (plain, three, control):
        assert 0 <= line["metric"] <= 1
        assert 0 < max(line["moved"].values()) < 1
        assert len(line["digest"]) == len(line["package"]) == 16
        assert line["at"] == [5, 10]
        assert len(line["losses"]) == 2
    assert not list((tmp_path / "work/runs").rglob("*.pdparams"))

    trained = []
    monkeypatch.setattr(runner, "train", lambda *args, **options: trained.append(args))
    runner.main()
    assert "3 fine-tunings, 3 of them done" in capsys.readouterr().out
    assert not trained
    monkeypatch.setattr(data, "VAL", 3)
    runner.main()
    said = capsys.readouterr().out
    assert "3 fine-tunings, 0 of them done" in said
    assert "FAILED" in said  # nothing was trained: said, and no result is written
    assert read(results) == lines


def test_results_survive_a_kill(tmp_path):
    results = tmp_path / "runs.jsonl"
    assert read(results) == {}
    append(results, {"key": "a", "digest": "1"})
    append(results, {"key": "b", "digest": "1"})
    with results.open("a") as file:
        file.write('{"key": "c", "met')
    assert set(read(results)) == {"a", "b"}
    append(results, {"key": "a", "digest": "2"})
    assert read(results)["a"]["digest"] == "2"  # the later line counts
    assert is_done(read(results), "a", "2")
    assert not is_done(read(results), "a", "1")


def made_up_line(arm, seed, metric, regime="overfit", resets=(), losses=(1.0, 1.0, 1.0, 1.0)):
    about = {"data": "digits", "model": "pp_liteseg", "regime": regime, "arm": arm}
    about["seed"] = 5 + seed  # those of the confirmation
    rest = {"metric": metric, "resets": list(resets), "at": [5, 10, 15, 20], "losses": list(losses)}
    return {"key": f"{regime}/{arm}/{seed}", **about, **rest, "moved": {"backbone.0": 0.1}}


def made_up_results():
    lines = [made_up_line("plain", seed, 0.5 + seed / 100) for seed in range(3)]
    lines += [made_up_line("rifle", seed, 0.6 + seed / 90, resets=[10]) for seed in range(4)]
    lines += [made_up_line("rifle-control", seed, 0.501 + seed / 99) for seed in range(3)]
    return lines


def test_an_arm_is_compared_over_the_seeds_that_both_have():
    place = Place("digits", "pp_liteseg", "overfit")
    rows = table.arms_table(Results(made_up_results()), place, range(10))
    assert rows[0].startswith("| arm | seeds | mIoU |")
    assert rows[2].startswith("| plain | 3 | 0.510 ± 0.025 |")
    assert rows[3].startswith("| rifle | 3 | 0.617 ± ")
    assert "**+0.101 ± 0.003**" in rows[3]
    assert rows[3].endswith("| 3 of 3 |")
    assert rows[4].startswith("| rifle-control | 3 |")
    assert len(rows) == 5


def test_the_first_table_says_what_the_intervals_say():
    gain, *_ = table.summary(Results(made_up_results()))[2:]
    assert gain.startswith("| few images, no augmentation, no weight decay: digits | pp_liteseg |")
    assert gain.endswith("| a gain |")
    plain = [made_up_line("plain", seed, 0.5) for seed in range(4)]
    cases = {
        "a loss": [-0.05, -0.06, -0.05, -0.055],
        "perhaps a loss": [-0.05, -0.02, -0.05, -0.02],
        "no loss of a point or more, and no sure gain": [0.001, -0.002, 0.002, 0.0],
        "not decided by so many seeds": [0.05, -0.05, 0.02, 0.01],
    }
    for said, differences in cases.items():
        ours = [made_up_line("rifle", s, 0.5 + d, resets=[10]) for s, d in enumerate(differences)]
        assert table.summary(Results(plain + ours))[2].endswith(f"| {said} |")
    two = [made_up_line(arm, s, 0.5 + s / 9) for arm in ("plain", "rifle") for s in range(2)]
    assert table.summary(Results(two))[2].endswith("| too few seeds to say |")


def test_the_burst_is_the_loss_over_plain_s_after_the_reset():
    place = Place("digits", "pp_liteseg", "overfit")
    lines = [
        made_up_line("plain", 0, 0.5, losses=[4, 3, 2, 1]),
        made_up_line("one", 0, 0.5, resets=[10], losses=[4, 3, 5, 2]),
    ]
    results = Results([{**line, "steps": 110} for line in lines])
    assert results.burst(place, "one", range(10)) == [2.0]
    assert results.last_loss(place, "one", range(10)) == pytest.approx(7 / 3)


def test_tables_go_between_their_comments():
    text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb"
    assert table.put(text, "x", ["1", "2"]) == "a\n<!-- begin x -->\n\n1\n2\n\n<!-- end x -->\nb"
    with pytest.raises(ValueError, match="no place, or several, for the table y"):
        table.put(text, "y", [])


def test_the_page_is_what_the_results_say():
    results = Results(read(records.RESULTS).values())
    text = table.PAGE.read_text(encoding="utf-8")
    for name, make in table.BLOCKS.items():
        assert table.put(text, name, make(results)) == text, name
