"""Blocks and keys that stand where they do nothing: said, and nothing else is."""

import os
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from rifle_ext.training.block_models import block_models
from rifle_ext.training.misplaced import blocks_below, keys_outside, misspelt_blocks

KNOWN = ["freeze_out", "lwf", "rifle"]
FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
HOMES = ("PADDLESEG_HOME", "PADDLEDETECTION_HOME")


def test_misspelt_blocks():
    for key, meant in (
        ("riffle", "rifle"), ("RIFLE", "rifle"), ("rifel", "rifle"), ("rifle ", "rifle"),
        ("freezeout", "freeze_out"), ("freeze-out", "freeze_out"), ("LwF", "lwf"),
    ):  # fmt: skip
        said = f"{key}: no method has such a block; did you mean {meant}?"
        assert misspelt_blocks({"model": {}, key: None}, KNOWN) == [said]
    assert misspelt_blocks({"model": {}, "rifle": None, "profile": 1, 3: 4}, KNOWN) == []


def test_blocks_below_other_keys():
    config = {"loss": {"types": [{"rifle": True}], "coef": [1]}, "rifle": {"lwf": {}}, "lwf": {}}
    (said,) = blocks_below(config, KNOWN)
    assert said.startswith("loss.types.0.rifle: ")


def test_keys_of_one_word_may_be_the_toolkits():
    fields = {"rifle": ["max_re_num", "seed", "layers"]}
    config = {"rifle": None, "seed": 1, "layers": 50, "max_re_num": 2}
    (said,) = keys_outside(config, fields)
    assert said.endswith("did you mean rifle.max_re_num?")


@pytest.mark.parametrize("toolkit", ["seg", "det"])
def test_a_training_says_it_once_and_goes_on(toolkit, request, capsys):
    runs = request.getfixturevalue(toolkit)
    path = runs.config(rifle=None, riffle=True)
    content = yaml.safe_load(path.read_text())
    content.pop("rifle")
    content.update({"iters": 1} if toolkit == "seg" else {"epoch": 1})
    path.write_text(yaml.safe_dump(content))
    runs.train(path)
    lines = [line for line in capsys.readouterr().err.splitlines() if "riffle" in line]
    said = f"[rifle-ext] {path}: riffle: no method has such a block; did you mean rifle?"
    assert lines == [said]


def test_no_config_of_the_toolkits_looks_like_a_slip():
    fields = {key: model.model_fields for key, model in block_models().items()}
    homes = [Path(os.environ[home]) for home in HOMES if home in os.environ]
    files = [path for home in (ROOT, *homes) for path in (home / "configs").rglob("*.yml")]
    assert len(files) > 20
    for path in files:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=FAST)
        keys = {key.value: None for key, _ in getattr(root, "value", ())}
        assert misspelt_blocks(keys, KNOWN) == keys_outside(keys, fields) == [], path
