"""The events file or its folder cannot be written any more: the training goes on."""

import shutil

import pytest
from seg_runs import Watch
from small import fields

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("what", ["folder", "file", "turned into a folder"])
def test_the_training_goes_on(seg, monkeypatch, said, what):
    removed = []

    class Removing(Watch):
        def on_step_begin(self, run, step):
            super().on_step_begin(run, step)
            if step == 3 and not removed:
                removed.append(step)
                events = seg.out / "rifle_events.jsonl"
                shutil.rmtree(seg.out) if what == "folder" else events.unlink(missing_ok=True)
                if what == "turned into a folder":
                    events.mkdir()

    monkeypatch.setattr("seg_runs.Watch", Removing)
    _, before, after = seg.train(seg.config(**fields()))
    assert before.steps == list(range(12))
    assert (after.others[8]["head.weight"] != before.others[8]["head.weight"]).any()
    text = said()
    assert text.count("the events file cannot be written, from event") == 1
    for line in ("reset 1 of 2 after iteration 4", "reset 2 of 2 after iteration 8", "2 resets of"):
        assert line in text
    assert not (seg.out / "rifle_events.jsonl").is_file()


def test_it_is_said_once_for_all_methods(seg, monkeypatch, said):
    class Removing(Watch):
        def on_step_begin(self, run, step):
            super().on_step_begin(run, step)
            (seg.out / "rifle_events.jsonl").unlink(missing_ok=True)

    monkeypatch.setattr("seg_runs.Watch", Removing)
    block = {"re_init_iter": 4, "max_re_num": 1, "keep_last": 0}
    seg.train(seg.config(rifle=block, freeze_out={"t_0": 0.5}))
    text = said()
    for line in ("[RIFLE] reset 1 of 1 after iteration 4", "[FreezeOut] "):
        assert line in text
    assert text.count("the events file cannot be written, from event") == 1
