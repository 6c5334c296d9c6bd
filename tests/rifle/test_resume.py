"""A training that is resumed with another config than it began with."""

import pytest

pytestmark = pytest.mark.timeout(120)


def test_a_block_that_is_added_when_a_training_is_resumed(seg):
    """What happens is a function of the config now and the step, whatever was done before."""
    seg.train(seg.config("plain.yml"), iters=4)
    path = seg.config("added.yml", rifle={"re_init_iter": 4, "max_re_num": 2, "seed": 9})
    seg.train(path, resume_model=str(seg.out / "iter_4"))
    added = [(e["step"], e["digest"]) for e in seg.events("reset")]
    whole = seg.folder / "whole"
    seg.train(path, out=whole)
    assert added == [(e["step"], e["digest"]) for e in seg.events("reset", out=whole)]
    assert [step for step, _ in added] == [4, 8]


def test_another_length_when_a_training_is_resumed(seg):
    """Equal periods are those of the new length; an interval stays."""
    for block, steps in (({"max_re_num": 1}, [10]), ({"re_init_iter": 7}, [7, 14])):
        path = seg.config(rifle={**block, "keep_last": 0})
        seg.train(path)
        seg.train(path, iters=20, resume_model=str(seg.out / "iter_8"))
        (first, second) = seg.events("plan")
        assert [r["step"] for r in second["resets"]] == steps
        assert (first["total_steps"], second["total_steps"]) == (12, 20)
        done = [e["step"] for e in seg.events("reset")]
        assert done[-1] == steps[-1]
