"""Learning without Forgetting over the zoo: a step of some models, and the page about all.

docs/lwf-zoo.md is written by `python -m benchmarks.lwf.zoo`, which does this for every model.
"""

import json

import pytest
import yaml
from conftest import ROOT

from benchmarks.lwf import zoo

FOUND = json.loads(zoo.RESULTS.read_text())
SAMPLE = [f"seg/{n}" for n in ("ccnet", "decoupled_segnet", "lpsnet")]
SAMPLE += [f"det/{n}" for n in ("deformable_detr", "detr", "fcos", "gfl", "ppyoloe", "solov2")]
SAMPLE += [f"det/{n}" for n in ("sparse_rcnn", "ssd", "tood", "yolov3")]
SAMPLE += [f"seg/{n}" for n in ("enet", "ocrnet", "segmenter_mask")]  # refused, like the rest
SAMPLE += [f"det/{n}" for n in ("centertrack", "faster_rcnn", "topdown_hrnet", "yolox")]

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("case", SAMPLE)
def test_a_step_is_done_or_refused_as_the_page_says(case):
    toolkit, name = case.split("/")
    said = dict(FOUND[toolkit][name])
    said.pop("architecture")
    assert zoo.step(toolkit, name) == said


def test_the_page_has_every_model_of_the_zoo():
    expected = yaml.safe_load((zoo.ZOO / "expected.yml").read_text())
    assert {t: list(found) for t, found in FOUND.items()} == {
        t: sorted(expected[t]) for t in zoo.TOOLKITS
    }
    page = zoo.PAGE.read_text(encoding="utf-8")
    for toolkit in FOUND:
        for outcome in FOUND[toolkit].values():
            assert ("answers" in outcome) != ("refused" in outcome)
            assert f"| {outcome['architecture']} | {zoo._layers(outcome)} | " in page


def test_the_detectors_of_the_benchmark_are_served_by_their_kinds():
    kinds = {n: set(FOUND["det"][n]["answers"].values()) for n in ("gfl", "ppyoloe")}
    assert kinds == {"gfl": {"sigmoid", "distribution"}, "ppyoloe": {"sigmoid", "distribution"}}
    assert set(FOUND["seg"]["pp_liteseg"]["answers"].values()) == {"softmax"}
    assert "refused" in FOUND["det"]["faster_rcnn"] and (ROOT / "docs/lwf-zoo.md").is_file()
