"""What a config file shows before a toolkit reads it."""

import os
from pathlib import Path

import pytest
from conftest import ROOT

from rifle_ext import cli
from rifle_ext.commands.config_file import check_kind, repeated
from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError
from rifle_ext.training.tools import GROUP

TOOLS = {name: entry.load() for name, entry in entry_group(GROUP).items()}
SEG = "_base_: a.yml\nmodel: {type: PPLiteSeg}\niters: 10\n"
DET = "_BASE_: [a.yml]\nepoch: 3\nTrainDataset: !COCODataSet {image_dir: images}\n"


@pytest.mark.parametrize(
    ("toolkit", "text", "said"),
    [
        ("det", SEG, "_base_, model, iters: keys of a config for --toolkit seg, not for --toolkit "
                     "det"),
        ("seg", DET, "_BASE_, epoch, TrainDataset: keys of a config for --toolkit det, not for "
                     "--toolkit seg"),
        ("seg", SEG.replace("_base_", "_BASE_"), "_BASE_: the key for --toolkit det; for "
                                                 "--toolkit seg it is _base_"),
        ("det", DET.replace("_BASE_", "_base_"), "_base_: the key for --toolkit seg; for "
                                                 "--toolkit det it is _BASE_"),
        ("seg", "_BASE_: a.yml\nrifle:\n", "_BASE_: the key for --toolkit det; for --toolkit seg "
                                           "it is _base_"),
        ("det", "_BASE_: a.yml\n", "_BASE_: a.yml: allowed is a list of files, as in _BASE_: "
                                   "[a.yml]"),
        ("seg", "", "no config: the file holds no keys"),
        ("det", "# nothing\n", "no config: the file holds no keys"),
        ("det", "- a\n", "no config: the file holds no keys"),
    ],
)  # fmt: skip
def test_the_wrong_kind(toolkit, text, said, tmp_path):
    path = tmp_path / "my.yml"
    path.write_text(text)
    with pytest.raises(RifleError) as failed:
        check_kind(path, toolkit, TOOLS)
    assert str(failed.value) == f"{path}: {said}"


def test_a_command_says_it_before_anything_is_set_up(tmp_path, capsys):
    path = tmp_path / "my.yml"
    path.write_text(DET)
    assert cli.main(["plan", "--toolkit", "seg", "-c", str(path)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith("not for --toolkit seg (rifle-ext explain toolkit)")


HOMES = {"seg": "PADDLESEG_HOME", "det": "PADDLEDETECTION_HOME"}


@pytest.mark.parametrize("toolkit", ["seg", "det"])
def test_the_toolkits_own_configs_are_theirs(toolkit):
    folders = [ROOT / "configs" / toolkit]
    if HOMES[toolkit] in os.environ:
        folders.append(Path(os.environ[HOMES[toolkit]]) / "configs")
    for path in (path for folder in folders for path in folder.rglob("*.yml")):
        check_kind(path, toolkit, TOOLS)


def test_what_stands_twice(tmp_path):
    path = tmp_path / "my.yml"
    path.write_text("rifle: true\na: 1\na: 2\nrifle:\n  seed: 1\n  keep: 0\n  seed: 2\n")
    assert repeated(path, ["rifle"]) == [
        "rifle: stands in lines 1, 4; the last one alone counts: keep one",
        "rifle.seed: stands in lines 5, 7; the last one alone counts: keep one",
    ]
    path.write_text("a: 1\nrifle: true\nlwf: {seed: 1}\n")
    assert repeated(path, ["rifle", "lwf"]) == []
