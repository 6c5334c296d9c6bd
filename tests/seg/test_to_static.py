"""Training as a static graph: `to_static_training` of PaddleSeg, `to_static` of PaddleDetection."""

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(180)

RIFLE = {"re_init_iter": 4, "max_re_num": 2, "keep_last": 0, "weight_initializer": "XavierNormal"}


def check(dynamic, static, steps):
    """Both trainings reset at the same steps to the same values, and the static one goes on."""
    assert [e["step"] for e in static] == steps
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
    names = check(dynamic, seg.events("reset", out=out), [4, 8])
    assert after.steps == list(range(12))
    for step in (4, 8):
        for name in names:
            assert (before.heads[step][name] != after.heads[step][name]).any(), name
            assert (before.heads[step + 1][name] != after.heads[step][name]).any(), name


def test_paddledetection(det):
    from det_runs import TINY

    # Every layer is translated, which takes long: one level of features instead of three.
    one_level = {"CSPResNet": {"return_idx": [3]}, "CustomCSPPAN": {"out_channels": [64]},
                 "PPYOLOEHead": {"fpn_strides": [32]}}  # fmt: skip
    fields = {part: {**TINY[part], **changed} for part, changed in one_level.items()}
    # All images in one batch: each number of boxes would be another program.
    fields["TrainReader"] = {**TINY["TrainReader"], "batch_size": 8}
    fields.update(rifle={**RIFLE, "re_init_iter": 2}, epoch=6, snapshot_epoch=6)
    det.train(path := det.config(**fields))
    dynamic = det.events(path, "reset")
    path = det.config("static.yml", **fields, to_static=True)
    _, before, after = det.train(path)
    names = check(dynamic, det.events(path, "reset"), [2, 4])
    for name in names:
        assert (before.values[2][name] != after.values[2][name]).any(), name
    moved = [n for n in names if not np.array_equal(before.values[3][n], after.values[2][n])]
    assert len(moved) > len(names) / 2
