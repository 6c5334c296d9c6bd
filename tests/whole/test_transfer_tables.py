"""The transfer benchmark: statistics, and the tables that are made of results."""

import numpy as np
import pytest

from benchmarks.transfer import records, table
from benchmarks.transfer.comparisons import Results
from benchmarks.transfer.places import Place
from rifle_ext.commands.trial.records import read
from rifle_ext.commands.trial.statistics import compare, estimate, holm, smallest_effect


def test_statistics():
    # By hand: mean 2, standard deviation 1, t of 2 degrees of freedom 4.3027.
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.30265 / np.sqrt(3), rel=1e-5)
    compared = compare([1.1, 2.2, 3.3], [1.0, 2.0, 3.0])
    assert compared.difference.mean == pytest.approx(0.2)
    assert compared.spread == pytest.approx(0.1)
    assert (compared.wins, compared.seeds) == (3, 3)
    # t = 0.2 / (0.1 / sqrt(3)) = 3.4641 with 2 degrees of freedom.
    assert compared.p == pytest.approx(0.0742, abs=1e-4)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    alone = compare([1.0], [0.5])
    assert (alone.difference.mean, alone.seeds) == (0.5, 1)
    assert alone.p != alone.p


def test_the_smallest_effect_is_seen_in_four_of_five_trials():
    # 34 pairs for an effect of half a standard deviation: Cohen, "Statistical power analysis".
    assert smallest_effect(2.0, 34) == pytest.approx(1.0, abs=0.01)
    rng, seeds = np.random.default_rng(0), 5
    effect = smallest_effect(1.0, seeds)
    trials = rng.normal(effect, 1.0, (4000, seeds))
    t = trials.mean(1) / (trials.std(1, ddof=1) / np.sqrt(seeds))
    assert (t > 2.776445).mean() == pytest.approx(0.8, abs=0.02)


def made_up_line(arm, seed, metric, regime="overfit", resets=(), losses=(1.0, 1.0, 1.0, 1.0)):
    about = {"data": "digits", "model": "pp_liteseg", "regime": regime, "arm": arm}
    about["seed"] = 5 + seed  # those of the confirmation
    rest = {"metric": metric, "resets": list(resets), "at": [5, 10, 15, 20], "losses": list(losses)}
    return {"key": f"{regime}/{arm}/{seed}", **about, **rest, "moved": {"backbone.0": 0.1}}


def made_up_results():
    lines = [made_up_line("plain", seed, 0.5 + seed / 100) for seed in range(3)]
    lines += [made_up_line("rifle", seed, 0.6 + seed / 90, resets=[10]) for seed in range(4)]
    lines += [made_up_line("rifle-control", seed, 0.501 + seed / 99) for seed in range(3)]
    return lines


def test_an_arm_is_compared_over_the_seeds_that_both_have():
    place = Place("digits", "pp_liteseg", "overfit")
    rows = table.arms_table(Results(made_up_results()), place, range(10))
    assert rows[0].startswith("| arm | seeds | mIoU |")
    assert rows[2].startswith("| plain | 3 | 0.510 ± 0.025 |")
    assert rows[3].startswith("| rifle | 3 | 0.617 ± ")
    assert "**+0.101 ± 0.003**" in rows[3]
    assert rows[3].endswith("| 3 of 3 |")
    assert rows[4].startswith("| rifle-control | 3 |")
    assert len(rows) == 5


def test_the_first_table_says_what_the_intervals_say():
    gain, *_ = table.summary(Results(made_up_results()))[2:]
    assert gain.startswith("| few images, no augmentation, no weight decay: digits | pp_liteseg |")
    assert gain.endswith("| a gain |")
    plain = [made_up_line("plain", seed, 0.5) for seed in range(4)]
    cases = {
        "a loss": [-0.05, -0.06, -0.05, -0.055],
        "perhaps a loss": [-0.05, -0.02, -0.05, -0.02],
        "no loss of a point or more, and no sure gain": [0.001, -0.002, 0.002, 0.0],
        "not decided by so many seeds": [0.05, -0.05, 0.02, 0.01],
    }
    for said, differences in cases.items():
        ours = [made_up_line("rifle", s, 0.5 + d, resets=[10]) for s, d in enumerate(differences)]
        assert table.summary(Results(plain + ours))[2].endswith(f"| {said} |")
    two = [made_up_line(arm, s, 0.5 + s / 9) for arm in ("plain", "rifle") for s in range(2)]
    assert table.summary(Results(two))[2].endswith("| too few seeds to say |")


def test_the_burst_is_the_loss_over_plain_s_after_the_reset():
    place = Place("digits", "pp_liteseg", "overfit")
    lines = [
        made_up_line("plain", 0, 0.5, losses=[4, 3, 2, 1]),
        made_up_line("one", 0, 0.5, resets=[10], losses=[4, 3, 5, 2]),
    ]
    results = Results([{**line, "steps": 110} for line in lines])
    assert results.burst(place, "one", range(10)) == [2.0]
    assert results.last_loss(place, "one", range(10)) == pytest.approx(7 / 3)


def test_tables_go_between_their_comments():
    text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb"
    assert table.put(text, "x", ["1", "2"]) == "a\n<!-- begin x -->\n\n1\n2\n\n<!-- end x -->\nb"
    with pytest.raises(ValueError, match="no place, or several, for the table y"):
        table.put(text, "y", [])


def test_the_page_is_what_the_results_say():
    results = Results(read(records.RESULTS).values())
    text = table.PAGE.read_text(encoding="utf-8")
    for name, make in table.BLOCKS.items():
        assert table.put(text, name, make(results)) == text, name
