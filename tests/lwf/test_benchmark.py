"""The benchmark's settings and its table."""

from pathlib import Path

from benchmarks.lwf import __main__ as runner
from benchmarks.lwf import table


def test_a_run_is_plain_fine_tuning_of_the_whole_old_model_but_for_the_block():
    configs = {
        weight: runner.config_of(runner.Run("gfl", weight, 3), Path("data"), Path("old"))
        for weight in (0, 1)
    }
    assert [c.pop("lwf") for c in configs.values()] == [{"weight": 0}, {"weight": 1}]
    assert configs[0] == configs[1]
    assert configs[0]["pretrain_weights"] == "old"
    assert configs[0]["epoch"] * runner.Run("gfl", 0, 3).place.epoch == runner.STEPS
    seg = runner.config_of(runner.Run("pp_liteseg", 1, 0), Path("data"), Path("old"))
    assert (seg["iters"], seg["model"]) == (runner.STEPS, {"pretrained": "old"})


def test_each_setting_has_a_digest_of_its_own():
    runs = runner.wanted(range(2))
    assert len({runner.digest(run) for run in runs}) >= len({(r.model, r.weight) for r in runs})
    assert len({run.key for run in runs}) == len(runs) == 24


def test_the_table_has_means_over_seeds():
    lines = {
        str(seed): {"model": "m", "weight": 1, "old": old, "before": 0.8, "new": 0.5}
        for seed, old in enumerate((0.4, 0.8))
    }
    lines["source"] = {"metric": 0.8}
    assert table.rows(lines)[-1] == ("| m | 1 | 2 | 0.800 | 0.600 ± 0.283 | 75 % | 0.500 ± 0.000 |")
