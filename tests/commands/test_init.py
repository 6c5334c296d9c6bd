"""`rifle-ext init`: a block to paste, and every word of its comments true for that config."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from conftest import ROOT
from processes import path_with

from rifle_ext import cli
from rifle_ext.commands.init import block_text
from rifle_ext.commands.training_options import Looked
from rifle_ext.methods.rifle.block import RifleConfig, parse_block
from rifle_ext.training.plans import MethodPlan

pytestmark = pytest.mark.timeout(180)

HINTS = {
    "layers": ["'auto' resets here:", "  head.out (Conv2D)"],
    "max_re_num": ["null, the default: here a reset after iteration 50 (epoch 2)."],
}
PLAN = MethodPlan(record={}, hints=HINTS)
LOOKED = Looked("seg", "Model", 100, 40, [], {"rifle": PLAN}, {}, 0)


def proposed(capsys, toolkit, path, *more):
    """The block that the command prints; here the toolkits' loggers may come before it."""
    assert cli.main(["init", "--toolkit", toolkit, "-c", str(path), *more]) == 0
    said = capsys.readouterr().out
    return said[said.index("# For ") :]


def plan(capsys, toolkit, path, *more):
    """The JSON of `rifle-ext plan`."""
    assert cli.main(["plan", "--toolkit", toolkit, "-c", str(path), "--json", *more]) == 0
    said = capsys.readouterr().out
    return json.loads(said[said.index("{") :])


def words(text):
    """The text on one line, without the marks of comments."""
    return " ".join(re.sub(r"^ *#", "", line).strip() for line in text.splitlines())


def resets(text, count):
    """The (step, epoch) that the comments say of `max_re_num: count`."""
    said = re.search(rf"{count}, [\w ]+: (?:here )?a reset (never|after .+?)\. ", words(text))
    return [(int(s), int(e)) for s, e in re.findall(r"(\d+) \(epoch (\d+)\)", said.group(1))]


def layers(text):
    """The layers that the comments say `auto` resets."""
    return re.findall(r"^  #   (\S+) \((\w+)\)$", text, re.M)


def planned_resets(planned):
    return [(reset["step"], reset["epoch"]) for reset in planned["resets"]]


@pytest.mark.parametrize(("toolkit", "more"), [("seg", []), ("det", []), ("det", ["--synthetic"])])
def test_a_plan_with_the_block_added_is_what_the_comments_say(toolkit, more, request, capsys):
    path = request.getfixturevalue(toolkit).config()
    config = path.read_text()
    text = proposed(capsys, toolkit, path, *more)
    path.write_text(config + text)
    planned = plan(capsys, toolkit, path, *more)
    assert planned_resets(planned) == resets(text, "null") != []
    assert [(layer["name"], layer["type"]) for layer in planned["layers"]] == layers(text)
    for warning in planned["warnings"]:
        assert f"Warning: {warning}." in words(text)
    total, epoch = planned["total_steps"], planned["steps_per_epoch"]
    assert f"{total} iterations, {epoch} an epoch, {total // epoch} epochs." in words(text)
    assert "already" not in text
    path.write_text(config + text.replace("# max_re_num: null", "max_re_num: 3"))
    planned = plan(capsys, toolkit, path, *more)
    assert planned_resets(planned) == resets(text, 3)
    assert len(planned["resets"]) == 3


@pytest.mark.parametrize("toolkit", ["seg", "det"])
@pytest.mark.parametrize("block", [None, True, False, {"re_init_iter": 2, "layers": "head"}])
def test_a_block_that_is_there_is_mentioned_and_not_heeded(toolkit, block, request, capsys):
    runs = request.getfixturevalue(toolkit)
    text = proposed(capsys, toolkit, runs.config(), "--synthetic")
    with_block = proposed(capsys, toolkit, runs.config(rifle=block), "--synthetic")
    assert "The config has a rifle: block already." in words(with_block)
    assert with_block[with_block.index("rifle:\n") :] == text[text.index("rifle:\n") :]


def test_what_the_block_was_made_with_is_said(seg, capsys):
    path = seg.config()
    more = ["-o", "iters=40", "--synthetic", "--images", "40"]
    text = proposed(capsys, "seg", path, *more)
    assert f"For {path}, iters=40, with a made-up data set (--synthetic):" in words(text)
    assert "40 iterations, 10 an epoch, 4 epochs." in words(text)
    assert resets(text, 3) == [(10, 1), (20, 2), (30, 3)]


def test_what_cannot_be_used_is_refused(seg, capsys, tmp_path):
    def refused(path, *more):
        assert cli.main(["init", "--toolkit", "seg", "-c", str(path), *more]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        message, explain, _ = said.err.splitlines()[-1].partition(" (rifle-ext explain ")
        assert explain
        return message

    missing = tmp_path / "missing.yml"
    assert refused(missing) == f"[RIFLE] --config {missing}: there is no such file"
    said = "[RIFLE] --opts rifle.seed=3: not for init, which proposes a block of its own"
    assert refused(seg.config(), "-o", "iters=40", "rifle.seed=3") == said
    path = seg.config(model={"type": "NoHead", "num_classes": 6})
    assert refused(path).startswith(f"[RIFLE] {path}: ")


@pytest.mark.parametrize("toolkit", ["seg", "det"])
def test_standard_output_holds_the_block_alone(toolkit, det, tmp_path):
    given = {"seg": [ROOT / "configs/seg/segformer.yml", "--synthetic"], "det": [det.config()]}
    folder = tmp_path / "empty"
    folder.mkdir()
    command = [sys.executable, "-m", "rifle_ext", "init", "--toolkit", toolkit, "-c"]
    done = subprocess.run(
        [*command, *map(str, given[toolkit])], cwd=folder, text=True, capture_output=True,
        timeout=120, env={**os.environ, "PYTHONPATH": path_with(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout) == {"rifle": None}
    assert all(line.startswith("#") for line in done.stdout.split("rifle:\n")[0].splitlines())
    assert list(folder.iterdir()) == []


def test_every_key_is_there_and_uncommented_means_its_default():
    text = block_text("rifle", RifleConfig, LOOKED, "my.yml")
    assert parse_block(yaml.safe_load(text)["rifle"]) == RifleConfig()
    keys = "|".join(RifleConfig.model_fields)
    plain = re.sub(rf"^  # ({keys}): (\S+|{{.+}})$", r"  \1: \2", text, flags=re.M)
    block = yaml.safe_load(plain)["rifle"]
    assert set(block) == set(RifleConfig.model_fields)
    assert parse_block(block) == RifleConfig()
    assert max(map(len, text.splitlines())) <= 100


def test_a_training_too_short_for_a_reset(seg, capsys):
    text = proposed(capsys, "seg", seg.config(iters=1), "--synthetic")
    assert "# Warning: nothing will be reset in this training.\n" in text
    assert resets(text, "null") == resets(text, 3) == []
    assert "a reset never." in text


def test_hints_and_a_name_that_breaks_lines():
    looked = replace(LOOKED, blocks=["rifle"])
    text = block_text("rifle", RifleConfig, looked, "my\nrifle: 5\n.yml")
    assert "  #   head.out (Conv2D)\n" in text
    assert yaml.safe_load(text) == {"rifle": None}
