"""RIFLE_EXT_BLOCKS: blocks laid over the config of any training, through both real toolkits."""

import json
import os
import re

import numpy as np
import pytest
import yaml
from conftest import ROOT
from launching import launch
from processes import path_with, run
from small import fields

from rifle_ext import cli
from rifle_ext.errors import RifleError

pytestmark = pytest.mark.timeout(240)

BLOCK = {"re_init_iter": 2, "max_re_num": 1, "keep_last": 0}
FILE = "rifle:\n  re_init_iter: 2\n  max_re_num: 1\n  keep_last: 0\n"


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """Write a file of blocks and let the variable name it."""

    def write(text=FILE, name="rifle.yml"):
        path = tmp_path / name
        if text is not None:
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        monkeypatch.setenv("RIFLE_EXT_BLOCKS", str(path))
        return path

    return write


def weights(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def test_paddleseg_trains_as_with_the_block_in_the_config(seg, blocks, said):
    ours = seg.config(**fields(block=BLOCK, iters=4))
    plain = seg.config("plain.yml", **fields(block=None, iters=4))
    expected = weights(seg.train(ours, out=seg.folder / "ours")[0])
    said()
    path = blocks()
    got = weights(seg.train(plain, out=seg.folder / "plain")[0])
    assert all(np.array_equal(got[name], expected[name]) for name in expected)
    name = f"{path} (RIFLE_EXT_BLOCKS)"
    assert f"[rifle-ext] rifle: {json.dumps(BLOCK)}, from {name}" in said()
    first, plan, *rest = seg.events(out=seg.folder / "plain")
    assert first == {"event": "laid_over", "block_of": "rifle", "source": name}
    strip = [{k: v for k, v in e.items() if k != "duration_ms"} for e in (plan, *rest)]
    same = [
        {k: v for k, v in e.items() if k != "duration_ms"}
        for e in seg.events(out=seg.folder / "ours")
    ]
    assert strip == same
    assert [event["step"] for event in seg.events("reset", seg.folder / "plain")] == [2]


def test_paddledetection_trains_as_with_the_block_in_the_config(det, blocks):
    ours = det.config("ours.yml", epoch=2, rifle=BLOCK)
    plain = det.config("plain.yml", epoch=2)
    expected = weights(det.train(ours)[0].model)
    path = blocks()
    got = weights(det.train(plain)[0].model)
    assert all(np.array_equal(got[name], expected[name]) for name in expected)
    name = f"{path} (RIFLE_EXT_BLOCKS)"
    assert det.events(plain)[0] == {"event": "laid_over", "block_of": "rifle", "source": name}
    assert [event["step"] for event in det.events(plain, "reset")] == [2]


WRONG = {
    "missing": (None, "there is no such file"),
    "no yaml": ("rifle: [", "no YAML file that can be read: while parsing"),
    "no text": (b"\xff\xfe\x00rifle", "no YAML file that can be read: "),
    "empty": ("# rifle:\n", "allowed is a mapping whose keys are blocks: "),
    "a list": ("- rifle\n", "the file holds list"),
    "unknown": ("rifel: true\n", "rifel: no method has such a block; did you mean rifle?"),
    "a key of the config": ("rifle: true\niters: 3\n", "iters: a key of the config, and no block"),
    "a wrong block": ("rifle: {max_re_nun: 2}\n", "did you mean max_re_num?"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_laid_over_is_one_message_before_anything_is_written(wrong, seg, blocks):
    text, expected = WRONG[wrong]
    path = blocks(text)
    with pytest.raises(RifleError) as refused:
        seg.train(seg.config(**fields(block=None)))
    assert str(refused.value).startswith(f"{path} (RIFLE_EXT_BLOCKS)")
    assert expected in str(refused.value)
    assert not seg.out.exists()


def test_a_block_that_the_config_has_too_is_refused(seg, blocks):
    path = blocks()
    config = seg.config(**fields(block=False))
    with pytest.raises(RifleError, match=f"rifle: {re.escape(str(config))} has this block, too"):
        seg.train(config)
    assert path.exists() and not seg.out.exists()


def test_paddledetection_refuses_before_it_builds_anything(det, blocks):
    from det_runs import workspace_kept
    from ppdet.core.workspace import load_config
    from ppdet.engine import Trainer

    config = det.config(rifle=BLOCK)
    blocks("rifle: true\nepoch: 3\n")
    with workspace_kept(), pytest.raises(RifleError) as refused:
        Trainer(load_config(str(config)), mode="train")
    assert f"rifle: {config} has this block, too; keep one of the two" in str(refused.value)
    assert f"epoch: a key of the config, and no block; set it in {config}" in str(refused.value)


def test_what_is_no_training_ignores_it(seg, det, blocks):
    from det_runs import workspace_kept
    from paddleseg.core import evaluate
    from paddleseg.cvlibs import Config, SegBuilder
    from ppdet.core.workspace import load_config
    from ppdet.engine import Trainer

    blocks(None)
    builder = SegBuilder(Config(str(seg.config(**fields(block=None)))))
    assert evaluate(builder.model, builder.val_dataset, num_workers=0)[0] >= 0
    with workspace_kept():
        Trainer(load_config(str(det.config())), mode="eval")


def test_an_empty_variable_names_nothing(seg, monkeypatch):
    monkeypatch.setenv("RIFLE_EXT_BLOCKS", "")
    seg.train(seg.config(**fields(block=None, iters=2)))
    assert not (seg.out / "rifle_events.jsonl").exists()


def test_a_relative_path_is_seen_from_where_the_first_process_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "import os; print(os.environ['RIFLE_EXT_BLOCKS'])"
    other_folder = (
        "import os, subprocess, sys; os.chdir('/'); subprocess.run([sys.executable, '-c', "
    )
    done = run(
        "-c", f"{other_folder}{code!r}])", RIFLE_EXT_BLOCKS="rifle.yml", RIFLE_EXT_AUTOLOAD=None
    )
    assert done.stdout.strip() == str(tmp_path / "rifle.yml")
    assert not done.stderr
    assert run("-c", code, RIFLE_EXT_BLOCKS="", RIFLE_EXT_AUTOLOAD=None).stdout == "\n"


def test_every_process_of_a_training_on_several_inherits_it(seg, blocks, tmp_path):
    path = blocks()
    ready = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
    config = seg.config(
        model=ready["model"], loss=ready["loss"], iters=3, batch_size=2, rank_record={"name": "x"}
    )
    flags = ["--config", config, "--device", "cpu", "--save_dir", tmp_path / "out"]
    code, logs = launch(tmp_path, "seg", tmp_path, *flags, RIFLE_EXT_BLOCKS=str(path))
    assert code == 0, logs[-2000:]
    first, second = (json.loads((tmp_path / f"x_rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    kinds = [event["event"] for event in seg.events(out=tmp_path / "out")]
    assert kinds == ["laid_over", "plan", "reset", "end"]


@pytest.mark.parametrize("toolkit", ["seg", "det"])
def test_the_command_and_the_folder_of_paddlex(toolkit, seg, det, blocks, tmp_path, monkeypatch):
    variable = {"seg": "PADDLESEG_HOME", "det": "PADDLEDETECTION_HOME"}[toolkit]
    home = os.environ.get(variable)
    if not home:
        pytest.skip(f"{variable} is not set: it takes a checkout of the toolkit")
    blocks()
    if toolkit == "seg":
        ready = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
        config = seg.config(model=ready["model"], loss=ready["loss"], iters=3)
        flags = ["--do_eval", "--config", config, "--device", "cpu", "--iters", "3"]
        flags += ["--save_dir", tmp_path / "output", "--log_iters", "1"]
    else:
        flags = ["--eval", "--config", det.config(epoch=2), "--use_vdl", "False"]
    monkeypatch.chdir(home)
    done = run("tools/train.py", *flags, PYTHONPATH=path_with(home))  # PaddleX installs it
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = tmp_path.rglob("rifle_events.jsonl")
    kinds = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert [kind for kind in kinds if kind != "weights"] == ["laid_over", "plan", "reset", "end"]
    assert f"[rifle-ext] rifle: {json.dumps(BLOCK)}, from " in done.stdout + done.stderr


def test_plan_and_init_know_it(seg, blocks, capsys):
    config = seg.config(**fields(block=None))
    path = blocks()
    words = ["--toolkit", "seg", "-c", str(config)]
    assert cli.main(["plan", *words]) == 0
    assert f"rifle: from {path} (RIFLE_EXT_BLOCKS)" in capsys.readouterr().out
    assert cli.main(["plan", *words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["laid_over"] == {"rifle": f"{path} (RIFLE_EXT_BLOCKS)"}
    assert [reset["step"] for reset in plan["resets"]] == [2]
    assert cli.main(["init", *words]) == 0
    assert "(RIFLE_EXT_BLOCKS) has a rifle: block" in capsys.readouterr().out.replace("\n#", "")
    assert cli.main(["plan", *words, "-o", "rifle.max_re_num=2"]) == 2
    assert "has this block, too; keep one of the two" in capsys.readouterr().err


def test_a_trial_hands_each_training_the_blocks_of_its_arm(seg, blocks, capsys):
    from rich.console import Console

    from rifle_ext.commands.trial.preparing import prepare

    config = seg.config(**fields(block=None))
    path = blocks()
    words = ["trial", "--toolkit", "seg", "-c", str(config), "-o", str(seg.folder / "trial")]
    words += ["--device", "cpu"]
    chosen = cli.parser().parse_args(words)
    (seg.folder / "trial").mkdir()
    found = prepare(chosen, seg.folder / "trial", Console())
    plain, block = (arm.overrides(5, found.setting.models) for arm in found.arms)
    assert plain == ["rifle=false"]
    ((key, _, value),) = (option.partition("=") for option in block)
    assert key == "rifle" and json.loads(value).items() >= {**BLOCK, "seed": 5}.items()
    assert str(path) in found.inputs["config files"]
    assert os.environ["RIFLE_EXT_BLOCKS"] == str(path)


def test_doctor_says_what_it_names(blocks):
    from rifle_ext.commands.doctor.command import blocks_laid_over
    from rifle_ext.commands.doctor.startup import check_blocks

    path = blocks()
    sound = check_blocks(*blocks_laid_over())
    assert sound.status == "ok"
    assert sound.found == f"every training heeds rifle, from {path} (RIFLE_EXT_BLOCKS)"
    path.unlink()
    missing = check_blocks(*blocks_laid_over())
    assert missing.status == "problem" and "there is no such file" in missing.found
