"""Blocks of methods that others wrote: a package that is broken, a key without a default."""

import json

import pytest

from rifle_ext import cli
from rifle_ext.commands.init import block_text
from rifle_ext.commands.report.runs import load
from rifle_ext.commands.training_options import Looked
from rifle_ext.training.block_models import block_models
from rifle_ext.training.registry import registered

METHODS = """
from typing import List

from pydantic import BaseModel, Field


class Strict(BaseModel):
    strength: float = Field(description="How much.")
    places: List[str] = Field(default_factory=lambda: ["head"], description="Where.")
"""


@pytest.fixture(autouse=True)
def others(tmp_path_factory, monkeypatch):
    """Two packages installed: one cannot be imported, the other's block has a required key."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "broken_block.py").write_text("import no_such_module\n")
    (folder / "strict_block.py").write_text(METHODS)
    for name, value in (("broken", "broken_block:Block"), ("strict", "strict_block:Strict")):
        described = folder / f"{name}-1.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (described / "entry_points.txt").write_text(f"[rifle_ext.blocks]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(folder)


def test_a_broken_package_concerns_only_who_wants_its_block(capsys, tmp_path):
    assert cli.main(["schema"]) == 0
    keys = set(json.loads(capsys.readouterr().out)["properties"])
    assert keys == {"rifle", "freeze_out", "lwf", "strict"}
    config = tmp_path / "my.yml"
    config.write_text("iters: 1\n")
    with registered(broken=lambda block, source: [], bare=lambda block, source: []):
        for method, said in (
            ("broken", "its block cannot be loaded: broken_block:Block fails with "
             "ModuleNotFoundError: No module named 'no_such_module'"),
            ("bare", "that method does not describe its block"),
        ):  # fmt: skip
            flags = ["--toolkit", "seg", "-c", str(config), "--method", method]
            assert cli.main(["init", *flags]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"[RIFLE] --method {method}: {said}")


def test_a_report_of_a_method_whose_block_has_a_required_key(tmp_path):
    plan = {"event": "plan", "method": "strict", "steps_per_epoch": 5, "total_steps": 10,
            "block": {"strength": 2.0, "places": ["head"]}}  # fmt: skip
    (tmp_path / "rifle_events.jsonl").write_text(json.dumps(plan) + "\n")
    (tmp_path / "train.log").write_text("[TRAIN] epoch: 1, iter: 10/10, loss: 1.0, lr: 0.1")
    assert load(tmp_path).label == "without resets, 10 iterations; strict: {'strength': 2.0}"


def test_a_proposal_says_that_a_key_has_to_be_given():
    looked = Looked("seg", "Any", 10, 5, [], {}, {}, 0)
    lines = block_text("strict", block_models()["strict"], looked, "my.yml").splitlines()
    after = lines[lines.index("strict:") + 1 :]
    assert after == [
        "  # How much.",
        "  # It has no default: it has to be given.",
        "  # strength:",
        "",
        "  # Where.",
        '  # places: ["head"]',
    ]
