"""Whole processes: the train tool, refusals, and a run without the block."""

import json
import os
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from processes import result, run, run_unmodified, run_without_the_package

HELPERS = ROOT / "tests/helpers"


@pytest.fixture
def liteseg(seg):
    """Write a config of PP-LiteSeg on the tiny scenes, for four iterations."""

    def write(**fields):
        ready = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
        return seg.config(**{"model": ready["model"], "loss": ready["loss"], "iters": 4, **fields})

    return write


def tool(path, out, *more, **environment):
    flags = ["--config", path, "--device", "cpu", "--save_dir", out, "--log_iters", "1"]
    return run("-m", "seg_hooks.train", *flags, *more, **environment)


@pytest.mark.parametrize("autoload", ["0", "1"])
def test_train_tool_of_a_pip_only_install(liteseg, tmp_path, autoload):
    path = liteseg(rifle={"re_init_iter": 1, "max_re_num": 9})
    done = tool(
        path,
        tmp_path / "out",
        "--do_eval",
        "--opts",
        "rifle.max_re_num=2",
        RIFLE_EXT_AUTOLOAD=autoload,
        FLAGS_set_to_1d=None,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    resets = [line for line in done.stdout.splitlines() if "[RIFLE] reset" in line]
    assert all("INFO" in line.partition("[RIFLE]")[0] for line in resets)
    assert "reset 1 of 2 after iteration 1 " in resets[0]
    assert "reset 2 of 2 after iteration 2 " in resets[1]
    assert len(resets) == 2
    events = (tmp_path / "out/rifle_events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in events] == ["plan", "reset", "reset", "end"]


def test_flags_are_those_of_the_standard_tool():
    home = os.environ.get("PADDLESEG_HOME")
    if not home:
        pytest.skip("PADDLESEG_HOME is not set: it takes a checkout of PaddleSeg")
    help_text = run(Path(home) / "tools/train.py", "--help", PYTHONPATH=home).stdout
    ours = run("-m", "seg_hooks.train", "--help").stdout
    flags = {word.strip("[],") for word in help_text.split() if word.startswith(("--", "[--"))}
    missing = {flag for flag in flags if flag not in ours}
    assert flags
    assert not missing


def test_standard_tool_of_a_checkout(liteseg, tmp_path):
    home = os.environ.get("PADDLESEG_HOME")
    if not home:
        pytest.skip("PADDLESEG_HOME is not set: it takes a checkout of PaddleSeg")
    path = liteseg(rifle={"re_init_iter": 2, "max_re_num": 1})
    flags = ["--config", path, "--device", "cpu", "--save_dir", tmp_path / "out"]
    done = run_unmodified(Path(home) / "tools/train.py", home, *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "[RIFLE] reset 1 of 1 after iteration 2" in done.stdout


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"max_re_nun": 2}, "rifle.max_re_nun = 2: no such key; did you mean max_re_num?"),
        ({"layers": ["seg_haeds.0"]}, '"seg_haeds.0" matches no parameter and no sublayer'),
    ],
)
def test_a_bad_block_ends_the_process_with_one_message(liteseg, tmp_path, block, said):
    out = tmp_path / "out"
    out.mkdir()
    (out / "rifle_events.jsonl").write_text("kept\n")
    path = liteseg(rifle=block)
    done = tool(path, out)
    assert done.returncode != 0
    assert f"[RIFLE] {path}: " in done.stderr
    assert said in done.stderr
    assert "(rifle-ext explain " in done.stderr
    assert "Traceback" not in done.stderr
    assert "[TRAIN]" not in done.stdout
    assert [(p.name, p.read_text()) for p in out.iterdir()] == [("rifle_events.jsonl", "kept\n")]


def test_without_the_block_every_bit_is_that_of_a_run_without_the_package(liteseg, tmp_path):
    path = liteseg()
    script = HELPERS / "plain_seg_train.py"

    without = result(run_without_the_package(script, path, tmp_path / "a"))
    installed = result(run(script, path, tmp_path / "b"))
    assert (without.pop("attached"), installed.pop("attached")) == (False, True)
    assert not installed["pydantic"]
    assert len(without["losses"]) == 4
    assert installed == without


BAD = [
    (
        {"rifle": {"re_init_epoch": 1, "re_init_iter": 1}},
        "give re_init_epoch or re_init_iter, not both",
    ),
    ({"rifle": {"layers": ["head.9"]}}, '"head.9" matches no parameter and no sublayer'),
    (
        {
            "rifle": {},
            "model": {"type": "NoHead", "num_classes": 6},
            "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1]},
        },
        "the outputs of NoHead come from no trainable parameter",
    ),
    ({"rifle": {}, "batch_size": 9}, "batch_size = 9: the training set has only 8 images"),
]


@pytest.mark.parametrize(("fields", "said"), BAD)
def test_a_run_that_cannot_work_is_refused_before_anything_is_written(seg, fields, said):
    from rifle_ext import RifleError

    path = seg.config(**fields)
    with pytest.raises(RifleError) as caught:
        seg.train(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert not seg.out.exists()


@pytest.mark.parametrize("block", ["none", None, True, False, {}, {"max_re_num": 9}])
def test_options_of_the_command_line_set_the_block(seg, block):
    from paddleseg.cvlibs import Config

    from rifle_ext import RifleError

    path = str(seg.config() if block == "none" else seg.config(rifle=block))
    assert Config(path, opts=["rifle.max_re_num=2"]).dic["rifle"] == {"max_re_num": 2}
    assert Config(path, opts=["rifle=false"]).dic["rifle"] is False
    with pytest.raises(RifleError, match=r"^--opts rifle.layers=\[\*.x\]: allowed is a value in Y"):
        Config(path, opts=["rifle.layers=[*.x]"])
    assert Config(path, opts=["rifle=true", "iters=3"]).dic["iters"] == 3
    nested = ["rifle.weight_initializer.type=Normal", "rifle.weight_initializer.std=0.1"]
    given = Config(path, opts=nested).dic["rifle"]["weight_initializer"]
    assert given == {"type": "Normal", "std": 0.1}
    listed = Config(path, opts=["rifle.layers=[head.3, aux]"]).dic["rifle"]["layers"]
    assert listed == ["head.3", "aux"]
    assert Config(path).dic.get("rifle", "none") == block


@pytest.mark.parametrize(
    ("base", "block", "merged"),
    [
        (None, {"seed": 1}, {"seed": 1}),
        (True, {"seed": 1}, {"seed": 1}),
        (False, {"seed": 1}, {"seed": 1}),
        ({"max_re_num": 2}, {"seed": 1}, {"max_re_num": 2, "seed": 1}),
        ({"max_re_num": 2}, False, False),
    ],
)
def test_a_block_over_the_block_of_a_base(seg, base, block, merged):
    from paddleseg.cvlibs import Config

    seg.config("base.yml", rifle=base)
    path = seg.folder / "derived.yml"
    path.write_text(yaml.safe_dump({"_base_": "base.yml", "rifle": block}))
    assert Config(str(path)).dic["rifle"] == merged


def test_false_switches_it_off(seg):
    seg.train(seg.config(rifle={"max_re_num": 2}), opts=["rifle=False"])
    assert not (seg.out / "rifle_events.jsonl").exists()
