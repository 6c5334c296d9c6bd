"""Training as a static graph: `to_static_training` of PaddleSeg, `to_static` of PaddleDetection."""

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(180)

RIFLE = {"re_init_iter": 4, "max_re_num": 2, "keep_last": 0, "weight_initializer": "XavierNormal"}


def check(dynamic, static):
    """Both trainings reset at the same steps to the same values, and the static one goes on."""
    assert [e["step"] for e in static] == [4, 8]
    assert [e["digest"] for e in static] == [e["digest"] for e in dynamic]
    assert static[0]["digest"] != static[1]["digest"]
    names = [n for n in static[0]["parameters"] if n.endswith("weight")]
    assert names
    return names


def test_paddleseg(seg):
    path = seg.config(rifle=RIFLE)
    seg.train(path)
    dynamic = seg.events("reset")
    out = seg.folder / "static"
    _, before, after = seg.train(path, out=out, to_static_training=True)
    names = check(dynamic, seg.events("reset", out=out))
    assert after.steps == list(range(12))
    for step in (4, 8):
        for name in names:
            assert (before.heads[step][name] != after.heads[step][name]).any(), name
            assert (before.heads[step + 1][name] != after.heads[step][name]).any(), name


def test_paddledetection(det):
    det.train(path := det.config(rifle=RIFLE, epoch=3))
    dynamic = det.events(path, "reset")
    path = det.config("static.yml", rifle=RIFLE, epoch=3, to_static=True)
    _, before, after = det.train(path)
    names = check(dynamic, det.events(path, "reset"))
    for name in names:
        assert (before.values[4][name] != after.values[4][name]).any(), name
    moved = [n for n in names if not np.array_equal(before.values[5][n], after.values[4][n])]
    assert len(moved) > len(names) / 2
