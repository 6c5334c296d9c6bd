"""RIFLE through PaddleSeg's real training loop."""

import hashlib
import json

import numpy as np
import paddle
import pytest
from seg_runs import OUTPUTS, SegRuns, same

pytestmark = pytest.mark.timeout(120)


def sha(values):
    return hashlib.sha256(b"".join(np.float32(values[n]).tobytes() for n in values)).hexdigest()


@pytest.fixture(scope="module")
def reference(scenes, tmp_path_factory):
    """One run of 12 iterations with resets after 4 and 8, evaluated and saved every 4."""
    runs = SegRuns(scenes, tmp_path_factory.mktemp("reference"))
    path = runs.config(rifle={"re_init_iter": 4, "max_re_num": 2})
    model, before, after = runs.train(path, evaluate=True)
    return runs, path, model, before, after


def test_resets_fall_at_the_planned_steps_only(reference):
    runs, _, _, before, after = reference
    assert before.steps == after.steps == list(range(12))
    changed = [s for s in after.steps if not same(before.heads[s], after.heads[s])]
    assert changed == [4, 8]
    resets = runs.events("reset")
    assert [(e["step"], e["epoch"], e["index"], e["of"]) for e in resets] == [
        (4, 2, 1, 2),
        (8, 4, 2, 2),
    ]


def test_reset_events_describe_what_was_written(reference):
    runs, _, _, _, after = reference
    for event in runs.events("reset"):
        assert event["parameters"] == OUTPUTS
        written = after.heads[event["step"]]
        assert event["values"] == sum(v.size for v in written.values())
        assert event["digest"] == sha(written)
        assert event["duration_ms"] > 0
    plan = runs.events("plan")
    assert len(plan) == 1
    assert [reset["step"] for reset in plan[0]["resets"]] == [4, 8]
    assert [layer["name"] for layer in plan[0]["layers"]] == ["head.3", "aux"]


def test_every_output_is_redrawn_and_nothing_else(reference):
    _, _, _, before, after = reference
    for step in (4, 8):
        assert same(before.others[step], after.others[step])
        for name in OUTPUTS:
            assert not np.array_equal(before.heads[step][name], after.heads[step][name]), name
    assert not same(after.heads[4], after.heads[8])


def test_constants_of_the_constructor_come_back(reference):
    _, _, _, before, after = reference
    for step in (4, 8):
        assert (after.heads[step]["head.3.bias"] == np.float32(-4.6)).all()
        assert (before.heads[step]["head.3.bias"] != np.float32(-4.6)).all()
        assert (after.heads[step]["aux.bias"] == 0).all()


def test_the_fresh_head_goes_on_training_as_the_same_parameters(reference):
    _, _, model, before, after = reference
    for step in (4, 8):
        for name in OUTPUTS:
            assert not np.array_equal(after.heads[step][name], before.heads[step + 1][name]), name
    now = {name: id(p) for name, p in model.named_parameters()}
    assert all(after.ids[step] == now for step in after.steps)


def test_momentum_of_the_head_alone_restarts(reference):
    _, _, _, before, after = reference
    for step in (4, 8):
        assert before.momenta[step].keys() == after.momenta[step].keys()
        for (kind, name), value in after.momenta[step].items():
            earlier = before.momenta[step][kind, name]
            if name in OUTPUTS:
                assert np.any(earlier != 0), name
                assert np.all(value == 0), name
            else:
                assert np.array_equal(earlier, value), name


def test_a_saved_model_is_never_a_just_reset_one(reference):
    runs, _, _, before, after = reference
    for step in (4, 8):
        saved = paddle.load(str(runs.out / f"iter_{step}" / "model.pdparams"))
        saved = {name: saved[name].numpy() for name in OUTPUTS}
        assert same(saved, before.heads[step])
        assert not same(saved, after.heads[step])


def test_an_evaluated_model_is_never_a_just_reset_one(seg, monkeypatch):
    import sys

    evaluated = []
    loop = sys.modules["paddleseg.core.train"]
    evaluate = loop.evaluate

    def watched(model, *args, **kwargs):
        evaluated.append({n: p.numpy() for n, p in model.named_parameters() if n in OUTPUTS})
        paddle.flops(model, [1, 3, 64, 64])
        return evaluate(model, *args, **kwargs)

    monkeypatch.setattr(loop, "evaluate", watched)
    path = seg.config(rifle={"re_init_iter": 4, "max_re_num": 2})
    _, before, after = seg.train(path, evaluate=True)
    assert len(evaluated) == 3
    assert after.steps == list(range(12))
    assert same(evaluated[0], before.heads[4])
    assert same(evaluated[1], before.heads[8])
    assert not same(evaluated[1], after.heads[8])


@pytest.mark.parametrize("kept", [1, 5])
def test_every_model_on_disk_has_trained_since_its_reset(seg, kept):
    """With averages, the best models and few checkpoints kept, saved and evaluated right there."""
    path = seg.config(rifle={"re_init_iter": 4, "max_re_num": 2, "keep_last": 0})
    model, before, after = seg.train(path, evaluate=True, use_ema=True, keep_checkpoint_max=kept)
    final = {name: p.numpy() for name, p in model.named_parameters() if name in OUTPUTS}
    trained = {4: before.heads[4], 8: before.heads[8], 12: final}
    on_disk = {}
    for file in seg.out.rglob("*.pdparams"):
        saved = paddle.load(str(file))
        saved = {name: saved[name].numpy() for name in OUTPUTS}
        assert not any(same(saved, after.heads[step]) for step in (4, 8)), file
        on_disk[file.parent.name, file.stem] = saved
    folders = {f"iter_{step}" for step in list(trained)[-kept:]} | {"best_model", "ema_best_model"}
    assert {folder for folder, _ in on_disk} == folders
    for (folder, kind), saved in on_disk.items():
        if kind == "model":
            (step,) = [step for step, head in trained.items() if same(saved, head)]
            assert folder in (f"iter_{step}", "best_model")


@pytest.mark.parametrize("start", [4, 6, 8])
def test_resumed_run_does_what_the_uninterrupted_one_does(reference, seg, start):
    runs, path, _, _, whole = reference
    whole_digests = {e["step"]: e["digest"] for e in runs.events("reset")}
    seg.train(path, save_interval=start)
    kept = seg.out / "rifle_events.jsonl"
    events_before = kept.read_text()
    kept.write_text(events_before + '{"event": "re')  # what a kill leaves behind
    _, before, after = seg.train(path, resume_model=str(seg.out / f"iter_{start}"))
    assert after.steps == list(range(start, 12))
    lines = kept.read_text()
    assert lines.startswith(events_before)
    again = [json.loads(line) for line in lines[len(events_before) :].splitlines()]
    assert [e for e in again if e["event"] == "resume"] == [{"event": "resume", "step": start}]
    digests = {e["step"]: e["digest"] for e in again if e["event"] == "reset"}
    assert digests == {s: d for s, d in whole_digests.items() if s >= start}
    for step in digests:
        assert same(after.heads[step], whole.heads[step])
        assert all((v == 0).all() for (_, n), v in after.momenta[step].items() if n in OUTPUTS)


def test_average_of_the_model_restarts_at_the_fresh_head(seg):
    path = seg.config(rifle={"re_init_iter": 4, "max_re_num": 1})
    averages = {}

    def keep(watch, kind):
        inner = watch.on_step_begin

        def on_step_begin(run, step):
            inner(run, step)
            if step == 4:
                (shadow,) = run.shadows
                averages[kind] = {k: v.numpy() for k, v in ema_of(shadow).state_dict().items()}

        watch.on_step_begin = on_step_begin

    import seg_runs

    original = seg_runs.Watch
    made = []

    class Kept(original):
        def __init__(self):
            super().__init__()
            keep(self, ("before", "after")[len(made)])
            made.append(self)

    seg_runs.Watch = Kept
    try:
        _, before, after = seg.train(path, use_ema=True, save_interval=5, evaluate=True)
    finally:
        seg_runs.Watch = original
    fresh = after.heads[4]
    assert not same({n: averages["before"][n] for n in OUTPUTS}, fresh)
    assert same({n: averages["after"][n] for n in OUTPUTS}, fresh)
    others = [name for name in averages["before"] if name not in OUTPUTS]
    assert same(
        {n: averages["before"][n] for n in others}, {n: averages["after"][n] for n in others}
    )
    saved = paddle.load(str(seg.out / "iter_5" / "ema_model.pdparams"))
    decay = min(1 - 1 / (5 + 1), 0.999)
    for name in OUTPUTS:
        expected = fresh[name] * decay + (1 - decay) * before.heads[5][name]
        np.testing.assert_allclose(saved[name].numpy(), expected, rtol=1e-5, atol=1e-7)


def ema_of(shadow):
    """The averaged model a shadow restarts."""
    return shadow.args[0]


def test_head_learning_rate_is_cyclic_and_the_rest_keeps_its_schedule(seg):
    path = seg.config(rifle={"re_init_iter": 4, "max_re_num": 2, "head_lr": "cyclic"})
    rates = {}
    model, _, after = seg.train(path)
    for step in after.steps:
        current = 0.001 + (0.05 - 0.001) * (1 - step / 12)
        for name, factor in after.rates[step].items():
            rates[step, name] = current * factor
    for step in range(12):
        wanted = 0.05 * 0.5 * (1 + np.cos(np.pi * (step % 4) / 4))
        for name in OUTPUTS:
            assert rates[step, name] == pytest.approx(wanted, rel=1e-6)
        assert after.rates[step]["neck.weight"] == 1.0
    assert all(p.optimize_attr["learning_rate"] == 1.0 for p in model.parameters())


def test_head_learning_rate_follows_a_warm_up(seg):
    schedule = {"type": "PolynomialDecay", "learning_rate": 0.05, "end_lr": 0.0}
    schedule.update(warmup_iters=3, warmup_start_lr=0.0)
    path = seg.config(
        rifle={"re_init_iter": 6, "max_re_num": 1, "head_lr": "cyclic"}, lr_scheduler=schedule
    )
    _, _, after = seg.train(path)
    for step in range(12):
        current = 0.05 * step / 3 if step < 3 else 0.05 * (1 - (step - 3) / 9) ** 1.0
        cosine = 0.5 * (1 + np.cos(np.pi * (step % 6) / 6))
        wanted = (current if step < 3 else 0.05) * cosine
        for name in OUTPUTS:
            assert after.rates[step][name] * current == pytest.approx(wanted, rel=1e-6), step
        assert after.rates[step]["neck.weight"] == 1.0


@pytest.mark.parametrize(
    ("initializer", "check"),
    [
        ({"type": "Constant", "value": 0.25}, lambda w: (w == 0.25).all()),
        ("KaimingUniform", lambda w: 0 < np.abs(w).max() <= np.sqrt(6 / 8) + 1e-6),
    ],
)
def test_weight_initializer_draws_weights_and_leaves_biases_to_the_constructor(
    seg, initializer, check
):
    path = seg.config(rifle={"re_init_iter": 6, "max_re_num": 1, "weight_initializer": initializer})
    _, _, after = seg.train(path)
    assert check(after.heads[6]["head.3.weight"])
    assert (after.heads[6]["head.3.bias"] == np.float32(-4.6)).all()


def test_original_restores_the_first_values(seg):
    path = seg.config(rifle={"re_init_iter": 4, "max_re_num": 2, "weight_initializer": "original"})
    _, before, after = seg.train(path)
    assert same(after.heads[4], before.heads[0])
    assert same(after.heads[8], before.heads[0])


def test_optimizer_state_can_be_kept(seg):
    path = seg.config(
        rifle={"re_init_iter": 4, "max_re_num": 1, "optimizer_state": "keep"},
        optimizer={"type": "AdamW"},
    )
    _, before, after = seg.train(path)
    assert not same(before.heads[4], after.heads[4])
    assert same(before.momenta[4], after.momenta[4])


def test_whole_head_is_reset_with_its_running_statistics(seg):
    path = seg.config(rifle={"re_init_iter": 4, "max_re_num": 1, "layers": "head"})
    seg.train(path)
    (reset,) = seg.events("reset")
    assert reset["parameters"] == [
        "head.0.weight",
        "head.0.bias",
        "head.1.weight",
        "head.1.bias",
        "head.3.weight",
        "head.3.bias",
        "aux.weight",
        "aux.bias",
        "head.1._mean",
        "head.1._variance",
    ]


def test_named_layers(seg):
    path = seg.config(rifle={"re_init_iter": 4, "max_re_num": 1, "layers": ["aux", "*.3.bias"]})
    _, before, after = seg.train(path)
    (reset,) = seg.events("reset")
    assert reset["parameters"] == ["head.3.bias", "aux.weight", "aux.bias"]
    assert np.array_equal(before.heads[4]["head.3.weight"], after.heads[4]["head.3.weight"])


def test_losses_up_to_the_first_reset_are_those_of_a_run_without(seg):
    plain = seg.config("plain.yml")
    block = seg.config("block.yml", rifle={"re_init_iter": 8, "max_re_num": 1, "keep_last": 4})
    _, _, without = seg.train(plain, out=seg.folder / "a")
    _, before, after = seg.train(block, out=seg.folder / "b")
    for step in range(9):
        assert same(without.heads[step], before.heads[step])
        assert same(without.others[step], before.others[step])
    assert not same(without.heads[8], after.heads[8])


def test_skipped_resets_are_named(seg):
    path = seg.config(rifle={"re_init_epoch": 3})
    seg.train(path)
    assert [e["step"] for e in seg.events("reset")] == [6]
    skipped = seg.events("skip")
    assert [(e["index"], e["step"]) for e in skipped] == [(2, 12), (3, 18)]
    assert all("training ends at iteration 12" in e["why"] for e in skipped)


def test_log_lines(seg, said):
    seg.train(seg.config(rifle={"re_init_iter": 4, "max_re_num": 1}))
    lines = [line for line in said().splitlines() if "[RIFLE]" in line]
    resets = [line for line in lines if "[RIFLE] reset 1 of 1 after iteration 4" in line]
    assert len(resets) == 1
    assert "INFO" in resets[0].partition("[RIFLE]")[0]
    assert any("output layers: head.3 (Conv2D), aux (Conv2DTranspose)" in line for line in lines)


def test_nothing_is_left_behind(seg):
    import sys

    loop = sys.modules["paddleseg.core.train"]
    names = (loop.resume, loop.init_ema_params, loop.evaluate, paddle.load)
    model, _, _ = seg.train(seg.config(rifle={"max_re_num": 1}))
    assert (loop.resume, loop.init_ema_params, loop.evaluate, paddle.load) == names
    assert not model._forward_pre_hooks
    assert "forward" not in vars(model.neck)


def test_exception_in_training_leaves_nothing_behind(seg, monkeypatch):
    import sys

    loop = sys.modules["paddleseg.core.train"]
    resume = loop.resume
    monkeypatch.setattr(loop, "loss_computation", lambda **kwargs: 1 / 0)
    path = seg.config(rifle={"max_re_num": 1, "head_lr": "cyclic"})
    with pytest.raises(ZeroDivisionError):
        seg.train(path)
    assert loop.resume is resume


def test_training_a_model_that_was_not_built_from_the_config_says_so(seg, said):
    from paddleseg.core import train
    from paddleseg.cvlibs import Config, SegBuilder
    from seg_runs import TinySeg

    config = Config(str(seg.config(rifle={"max_re_num": 1})))
    builder = SegBuilder(config)
    model = TinySeg(6)
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    train(
        model,
        builder.train_dataset,
        optimizer=optimizer,
        losses=builder.loss,
        save_dir=str(seg.out),
        iters=1,
        batch_size=4,
    )
    assert "[rifle-ext] not active in this training" in said()
    assert not (seg.out / "rifle_events.jsonl").exists()


def test_original_weights_with_biases_of_their_own(seg):
    block = {"re_init_iter": 4, "max_re_num": 1, "weight_initializer": "original",
             "bias_initializer": {"type": "Constant", "value": -2.0}}  # fmt: skip
    _, before, after = seg.train(seg.config(rifle=block))
    assert np.array_equal(after.heads[4]["head.3.weight"], before.heads[0]["head.3.weight"])
    assert (after.heads[4]["head.3.bias"] == -2.0).all()
