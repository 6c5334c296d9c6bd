"""RIFLE through PaddleDetection's real trainers."""

import math

import numpy as np
import paddle
import pytest
from det_runs import OUTPUTS, TINY, DetRuns, pick, rest
from seg_runs import same

pytestmark = pytest.mark.timeout(180)

CLS_BIAS = -math.log((1 - 0.01) / 0.01)


def without_positives(watch):
    """Regression weights of levels that no box of these scenes is assigned to: they never learn."""
    names = {n for n in OUTPUTS if (watch.values[6][n] == watch.values[0][n]).all()}
    assert names <= {"yolo_head.pred_reg.0.weight", "yolo_head.pred_reg.1.weight"}
    return names


@pytest.fixture(scope="module")
def reference(scenes, tmp_path_factory):
    """Four epochs of 4 steps with resets after 6 and 12, evaluated and saved each epoch."""
    runs = DetRuns(scenes, tmp_path_factory.mktemp("reference"))
    path = runs.config(rifle={"re_init_iter": 6, "max_re_num": 2, "keep_last": 4})
    return (runs, path, *runs.train(path, evaluate=True))


def test_resets_fall_at_the_planned_steps_only(reference):
    runs, path, _, before, after = reference
    assert before.steps == after.steps == list(range(16))
    changed = [s for s in after.steps if not same(before.values[s], after.values[s])]
    assert changed == [6, 12]
    resets = runs.events(path, "reset")
    assert [(e["step"], e["epoch"], e["index"], e["of"]) for e in resets] == [
        (6, 2, 1, 2),
        (12, 3, 2, 2),
    ]
    assert [e["parameters"] for e in resets] == [OUTPUTS, OUTPUTS]


def test_all_outputs_are_back_at_what_the_constructor_gives(reference):
    _, _, _, before, after = reference
    unlearned = without_positives(before)
    for step in (6, 12):
        assert same(rest(before.values[step]), rest(after.values[step]))
        for name in OUTPUTS:
            value = after.values[step][name]
            assert name in unlearned or (before.values[step][name] != value).any(), name
            if name.endswith("weight"):
                assert (value == 0).all(), name
            else:
                wanted = CLS_BIAS if "cls" in name else 1.0
                np.testing.assert_allclose(value, wanted, rtol=1e-6)


def test_the_head_trains_again_as_the_same_parameters(reference):
    _, _, trainer, before, after = reference
    for step in (6, 12):
        moved = {n for n in OUTPUTS if (after.values[step][n] != before.values[step + 1][n]).any()}
        assert moved >= set(OUTPUTS) - without_positives(before)
    now = {name: id(p) for name, p in trainer.model.named_parameters()}
    assert all(after.ids[step] == now for step in after.steps)


def test_momentum_of_the_head_alone_restarts(reference):
    _, _, _, before, after = reference
    for step in (6, 12):
        for (kind, name), value in after.momenta[step].items():
            if name in OUTPUTS:
                learned = name not in without_positives(before)
                assert not learned or np.any(before.momenta[step][kind, name] != 0), name
                assert np.all(value == 0), name
            else:
                assert np.array_equal(before.momenta[step][kind, name], value), name


def test_checkpoints_hold_what_was_there_before_the_reset(reference):
    runs, path, _, before, after = reference
    # With an average, PaddleDetection saves the model itself as .pdema.
    saved = paddle.load(str(runs.out(path) / "2.pdema"))
    saved = {name: saved[name].numpy() for name in OUTPUTS}
    assert same(saved, pick(before.values[12]))
    assert not same(saved, pick(after.values[12]))
    average = paddle.load(str(runs.out(path) / "2.pdparams"))
    for name in OUTPUTS:
        np.testing.assert_allclose(average[name].numpy(), before.averages[12][name], rtol=1e-5)


def test_evaluation_never_sees_a_just_reset_head(det, monkeypatch):
    from ppdet.engine import Trainer

    seen = []
    evaluate = Trainer._eval_with_loader

    def watched(self, loader):
        seen.append({n: p.numpy() for n, p in self.model.named_parameters() if n in OUTPUTS})
        return evaluate(self, loader)

    monkeypatch.setattr(Trainer, "_eval_with_loader", watched)
    path = det.config(rifle={"re_init_epoch": 1, "max_re_num": 2}, use_ema=False)
    _, before, after = det.train(path, evaluate=True)
    assert len(seen) == 4
    for epoch in (1, 2):
        assert same(seen[epoch - 1], pick(before.values[4 * epoch]))
        assert not same(seen[epoch - 1], pick(after.values[4 * epoch]))
    assert [e["step"] for e in det.events(path, "reset")] == [4, 8]


@pytest.mark.parametrize("kind", ["threshold", "normal", "exponential"])
def test_average_restarts_exactly_at_the_fresh_head(det, kind):
    path = det.config(
        rifle={"re_init_iter": 5, "max_re_num": 1, "weight_initializer": "XavierNormal"},
        ema_decay_type=kind,
        ema_decay=0.9,
        epoch=3,
    )
    _, before, after = det.train(path)
    assert not same(pick(before.averages[5]), pick(after.averages[5]))
    for name in OUTPUTS:
        np.testing.assert_allclose(
            after.averages[5][name], after.values[5][name], rtol=1e-6, atol=1e-7, err_msg=name
        )
    assert same(rest(before.averages[5]), rest(after.averages[5]))
    # One update later it is a weighted mean of the fresh head and the next.
    fresh, moved = after.values[5], before.values[6]
    for name in OUTPUTS:
        low, high = np.minimum(fresh[name], moved[name]), np.maximum(fresh[name], moved[name])
        slack = 1e-5 + (abs(fresh[name]).max() * 0.05 if kind == "threshold" else 0)
        slack += abs(fresh[name]).max() * 0.01 if kind == "exponential" else 0
        assert (before.averages[6][name] >= low - slack).all(), name
        assert (before.averages[6][name] <= high + slack).all(), name


def test_average_with_a_black_list_and_a_cycle(det):
    path = det.config(
        rifle={"re_init_iter": 5, "max_re_num": 1, "weight_initializer": "XavierNormal"},
        ema_black_list=["proj_conv.weight", "pred_cls.1"],
        cycle_epoch=1,
        epoch=3,
    )
    _, _, after = det.train(path, evaluate=True)
    for name in OUTPUTS:
        np.testing.assert_allclose(
            after.averages[5][name], after.values[5][name], rtol=1e-6, atol=1e-7, err_msg=name
        )


def test_average_of_a_layer_of_two_names_restarts_under_both(det):
    block = {"re_init_iter": 1, "max_re_num": 1, "weight_initializer": "XavierNormal"}
    path = det.config(ready="solov2", epoch=1, snapshot_epoch=9, use_ema=True, rifle=block)
    trainer, before, after = det.train(path)
    state = trainer.model.state_dict()
    for key in ("weight", "bias"):
        one, other = f"solov2_head.bbox_head.solo_cate.{key}", f"solov2_head.solo_cate.{key}"
        assert state[one] is state[other]
        for name in (one, other):
            assert not np.array_equal(before.averages[1][name], after.averages[1][name])
            np.testing.assert_allclose(
                after.averages[1][name], after.values[1][one], rtol=1e-6, atol=1e-7, err_msg=name
            )


def test_resumed_run_does_what_the_uninterrupted_one_does(reference, det):
    runs, whole_path, _, _, whole = reference
    digests = {e["step"]: e["digest"] for e in runs.events(whole_path, "reset")}
    path = det.config(rifle={"re_init_iter": 6, "max_re_num": 2, "keep_last": 4})
    det.train(path)
    first = len(det.events(path))
    _, before, after = det.train(path, resume=det.out(path) / "2")
    assert after.steps == [12, 13, 14, 15]
    again = det.events(path)[first:]
    assert [(e["event"], e.get("step")) for e in again] == [
        ("plan", None),
        ("resume", 12),
        ("reset", 12),
        ("end", None),
    ]
    assert again[-2]["digest"] == digests[12]
    assert same(pick(after.values[12]), pick(whole.values[12]))
    for (_, name), value in after.momenta[12].items():
        assert name not in OUTPUTS or (value == 0).all()
    first_step = before.momenta[13]
    assert all(np.isfinite(value).all() for value in first_step.values())


@pytest.mark.parametrize(
    ("batch", "starts", "left_out", "why"),
    [
        (1, 16, 12, "the resume begins after it, as epochs are counted now"),
        (4, 4, 6, "it was done before the checkpoint that is resumed"),
    ],
)
def test_epochs_of_another_length_when_a_training_is_resumed(
    reference, det, batch, starts, left_out, why
):
    """Resumed after 8 iterations, 2 epochs: no recovery from a reset that this training has not."""
    runs, path, *_ = reference
    block = {"re_init_iter": 6, "max_re_num": 2, "keep_last": 2, "warm_up": 8}
    again = det.config(rifle=block, TrainReader={**TINY["TrainReader"], "batch_size": batch})
    _, _, after = det.train(again, resume=runs.out(path) / "1")
    assert after.steps[0] == starts
    assert (left_out, why) in [(e["step"], e["why"]) for e in det.events(again, "skip")]
    assert det.events(again, "reset") == []
    stem = "backbone.stem.conv1.conv.weight"
    assert {rates[stem] for rates in after.rates.values()} == {1.0}


def test_head_learning_rate_is_cyclic_over_a_schedule_that_holds_its_warm_up(det):
    path = det.config(rifle={"re_init_iter": 8, "max_re_num": 1, "head_lr": "cyclic"})
    _, _, after = det.train(path)
    for step in range(16):
        cosine = 0.5 * (1 + math.cos(math.pi * (step % 8) / 8))
        peak = after.rate[step] if step < 4 else 0.01  # an epoch of warm-up to base_lr
        for name in OUTPUTS:
            rate = after.rate[step] * after.rates[step][name]
            assert rate == pytest.approx(peak * cosine, rel=1e-6), step
        assert after.rates[step]["backbone.stem.conv1.conv.weight"] == 1.0


def test_original_values_are_restored_and_lost_by_a_resume(det):
    from rifle_ext import RifleError

    block = {"re_init_iter": 6, "max_re_num": 1, "weight_initializer": "original"}
    path = det.config(rifle=block)
    _, before, after = det.train(path)
    assert same(pick(after.values[6]), pick(before.values[0]))
    with pytest.raises(RifleError, match="original cannot go on after a resume"):
        det.train(path, resume=det.out(path) / "0")


def test_options_override_the_block(det):
    path = det.config(rifle=None, epoch=2)
    det.train(path, options={"rifle": {"re_init_iter": 3, "max_re_num": 1}})
    assert [e["step"] for e in det.events(path, "reset")] == [3]


def test_a_head_that_starts_at_zero_starts_there_again_and_learns(det):
    _, before, after = det.train(det.config(rifle={"re_init_iter": 3, "max_re_num": 1}, epoch=2))
    weight = "yolo_head.pred_cls.0.weight"
    assert np.abs(before.values[3][weight]).max() > 0
    assert (after.values[3][weight] == 0).all()
    assert np.abs(before.values[5][weight]).max() > 0


def test_pretrained_weights_confuse_nothing(det):
    path = det.config("pretrained.yml", epoch=1, use_ema=False)
    trainer, _, _ = det.train(path)
    weights = det.folder / "weights.pdparams"
    paddle.save(trainer.model.state_dict(), str(weights))
    rifle = {"re_init_iter": 2, "max_re_num": 1, "layers": "outputs"}
    block = det.config(rifle=rifle, epoch=1, use_ema=False)

    _, before, after = det.train(block, prepare=lambda made: made.load_weights(str(weights)))
    loaded = {n: v.numpy() for n, v in paddle.load(str(weights)).items() if n in OUTPUTS}
    assert after.steps == [0, 1, 2, 3]
    assert same(pick(before.values[0]), loaded)
    np.testing.assert_allclose(after.values[2]["yolo_head.pred_cls.0.bias"], CLS_BIAS, rtol=1e-6)


def test_nothing_is_left_behind(det):
    from det_runs import workspace_kept
    from ppdet.core.workspace import global_config

    with workspace_kept():
        before = {k: dict(v) if isinstance(v, dict) else v for k, v in global_config.items()}
        trainer, _, _ = det.train(det.config(rifle={"max_re_num": 1, "head_lr": "cyclic"}, epoch=1))
        after = {k: dict(v) if isinstance(v, dict) else v for k, v in global_config.items()}
    assert [type(c).__name__ for c in trainer._callbacks] == ["LogPrinter", "Checkpointer"]
    assert before.keys() == after.keys()
    assert all(p.optimize_attr["learning_rate"] == 1.0 for p in trainer.model.parameters())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"rifle": {"max_re_nun": 1}},
            "rifle.max_re_nun = 1: no such key; did you mean max_re_num?",
        ),
        ({"rifle": {"layers": ["yolo_head.pred_clz"]}}, "did you mean yolo_head.pred_cls?"),
        ({"rifle": {"layers": ["yolo_head.proj_conv"]}}, "only frozen parameters"),
    ],
)
def test_a_bad_block_is_refused_before_the_first_step(det, fields, said):
    from rifle_ext import RifleError

    path = det.config(**fields)
    with pytest.raises(RifleError) as caught:
        det.train(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert not det.out(path).exists()


def test_a_model_that_was_changed_after_it_was_built_is_refused(det):
    from rifle_ext import RifleError

    def change(trainer):
        trainer.model.yolo_head.pred_cls[0] = paddle.nn.Conv2D(64, 5, 5, padding=2)

    with pytest.raises(RifleError, match="pred_cls.0.weight cannot be redrawn"):
        det.train(det.config(rifle={"max_re_num": 1}), prepare=change)


def test_trainers_that_are_defined_later_heed_the_block_too(det):
    from ppdet.engine import Trainer

    class Later(Trainer):
        def train(self, validate=False):
            super().train(validate)

    path = det.config(rifle={"max_re_num": 1}, epoch=1)
    _, _, after = det.train(path, trainer=Later)
    assert after.steps == [0, 1, 2, 3]
    assert [e["step"] for e in det.events(path, "reset")] == [2]
