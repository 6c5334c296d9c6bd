"""`rifle-ext trial` through both toolkits: tiny trainings, interrupted, failing, two at a time."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from rifle_ext.cli import main
from rifle_ext.entry_groups import entry_group

LIMIT = 280
SEG = {
    "model": {"type": "FastSCNN", "num_classes": 6, "enable_auxiliary_loss": False},
    "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1]},
    "iters": 6,
    "rifle": {"re_init_iter": 2, "max_re_num": 1, "keep_last": 0},
}
WHOLE = ("--seeds", 2, "--evaluations", 2, "--jobs", 2)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}


def command(toolkit, config, out, *flags):
    return [sys.executable, "-m", "rifle_ext", "trial", "--toolkit", toolkit, "-c", str(config),
            "-o", str(out), "--device", "cpu", *map(str, flags)]  # fmt: skip


def trial(toolkit, config, out, *flags):
    """Run a trial to its end, its parent in this process; returns what is in its `trial.json`."""
    return finished(main(command(toolkit, config, out, *flags)[3:]), out)


def finished(code, out):
    assert code == 0
    return json.loads((out / "trial.json").read_text())


def results(out):
    lines = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    return {line["key"]: line for line in lines}


def alive(out):
    """Processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(out / "runs") in path.read_text(errors="replace"):
                found.append(path)
    return found


def begun(out, words):
    """A trial in a process of its own, as soon as one of its trainings runs."""
    with out.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(
            words,
            stdout=log,
            stderr=log,
            env={**os.environ, **ENVIRONMENT},
            # A shell lets what it runs in the background ignore SIGINT, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    until = time.monotonic() + 200
    while not alive(out) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert alive(out), said_in(out)
    return process


def said_in(out):
    return out.with_suffix(".log").read_text()


def gone(out, seconds=20):
    until = time.monotonic() + seconds
    while alive(out) and time.monotonic() < until:
        time.sleep(0.1)
    return not alive(out)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    """An uninterrupted trial of PaddleSeg, two trainings at a time, and its config."""
    from seg_runs import SegRuns

    folder = tmp_path_factory.mktemp("trial")
    config = SegRuns(scenes, folder).config(**SEG)
    found = trial("seg", config, folder / "whole", *WHOLE)
    return config, folder / "whole", found


def test_the_table_equals_the_logs(whole):
    _, out, found = whole
    logs = entry_group("rifle_ext.logs")["seg"].load()
    for arm in ("plain", "block"):
        for seed in (0, 1):
            folder = out / f"runs/{arm}/{seed}"
            text = (folder / "train.log").read_text().splitlines()
            curves = logs.from_text(text)
            assert sorted(curves.metrics) == [3, 6]
            assert found["results"][arm][str(seed)] == curves.metrics[6]
            events = folder / "output/rifle_events.jsonl"
            assert events.exists() == (arm == "block")
            assert not list(folder.rglob("*.pdparams"))
    events = [json.loads(line) for line in events.read_text().splitlines()]
    assert [e["step"] for e in events if e["event"] == "reset"] == [2]
    assert next(e for e in events if e["event"] == "plan")["block"]["seed"] == 1
    mean = sum(found["results"]["block"].values()) / 2
    assert found["rows"][1]["metric"]["mean"] == pytest.approx(mean)
    assert "no verdict from 2 seeds" in found["verdicts"][0]
    page = (out / "trial.html").read_text()
    assert found["verdicts"][0] in page and "<svg" in page and "src=" not in page


def test_arms_of_a_seed_are_the_same_until_they_differ(whole):
    """Data, first weights, losses: up to the reset after the second iteration."""
    _, out, _ = whole
    lines = results(out)
    for seed in (0, 1):
        plain, block = (lines[f"{arm}/{seed}"]["losses"] for arm in ("plain", "block"))
        assert [plain[s] for s in "12"] == [block[s] for s in "12"]
        assert plain["3"] != block["3"]
    assert lines["plain/0"]["losses"]["1"] != lines["plain/1"]["losses"]["1"]


def test_done_is_done_and_another_config_is_refused(whole, capsys):
    config, out, found = whole
    before = (out / "results.jsonl").read_text()
    assert trial("seg", config, out, *WHOLE) == found
    mean = found["rows"][1]["metric"]["mean"]
    assert f"{mean:.4f}" in capsys.readouterr().out
    assert (out / "results.jsonl").read_text() == before
    content = yaml.safe_load(config.read_text())
    other = config.with_name("other.yml")
    other.write_text(yaml.safe_dump({**content, "batch_size": 2}))
    assert main(command("seg", other, out, *WHOLE)[3:]) == 2
    said = capsys.readouterr().err
    assert f"{out} holds a trial of something else; what differs: " in said
    assert str(other) in said
    arms = ["--arm", "plain", "--arm", "block:iters=6"]
    assert main(command("seg", config, out, *WHOLE, *arms)[3:]) == 2
    assert "the arm of this name is another one" in capsys.readouterr().err


def test_interrupts_and_a_failing_arm_change_nothing(whole, capsys):
    """SIGINT, SIGKILL of the parent and of a child; no child outlives its parent.

    Each training is one at a time here, and does what it did beside another one.
    """
    config, whole_out, found = whole
    out = whole_out.with_name("interrupted")
    flags = ("--seeds", 1, "--evaluations", 2)
    for number in (signal.SIGINT, signal.SIGKILL):
        process = begun(out, command("seg", config, out, *flags))
        process.send_signal(number)
        process.wait(60)
        assert gone(out)
    process = begun(out, command("seg", config, out, *flags))
    (child,) = alive(out)
    os.kill(int(child.parent.name), signal.SIGKILL)
    assert process.wait(LIMIT) == 1  # the others went on, and that one is told
    assert "failed: killed by signal 9" in said_in(out)
    arms = ["--arm", "plain:rifle=false", "--arm", "block"]
    arms += ["--arm", "broken:rifle=false", "val_dataset.val_path=nowhere.txt"]
    assert main(command("seg", config, out, *flags, *arms)[3:]) == 1
    assert "broken/0 failed: exit code 1: " in capsys.readouterr().out
    again = json.loads((out / "trial.json").read_text())
    for arm in ("plain", "block"):
        assert again["results"][arm] == {"0": found["results"][arm]["0"]}
        assert results(out)[f"{arm}/0"]["losses"] == results(whole_out)[f"{arm}/0"]["losses"]
    assert again["results"]["broken"] == {}


def test_one_trial_at_a_time_in_a_folder_and_a_dry_run_trains_nothing(whole, tmp_path, capsys):
    config, whole_out, _ = whole
    with (whole_out / "lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(command("seg", config, whole_out)[3:]) == 2
    assert "another trial works there" in capsys.readouterr().err
    flags = ["--dry-run", "--tool", "ours"]
    assert main(command("seg", config, tmp_path / "dry", *flags)[3:]) == 0
    said = capsys.readouterr().out
    assert "6 trainings to do, 1 at a time on the cpu by seg_hooks.train: " in said
    assert not (tmp_path / "dry").exists()


def test_paddledetection_too(det, tmp_path, capsys):
    """Two at a time, which detect into the same folder; a block that replaces the config's."""
    rifle = {"re_init_iter": 2, "max_re_num": 1, "keep_last": 0}
    path = det.config(epoch=2, rifle=rifle)
    out = tmp_path / "trial"
    arms = ["--arm", "plain:rifle=false", "--arm", "block", "--arm", "defaults:rifle=true"]
    found = trial("det", path, out, "--seeds", 1, "--evaluations", 1, "--jobs", 2, *arms)
    lines = results(out)
    assert set(lines) == {"plain/0", "block/0", "defaults/0"}
    for arm, number in (("block", 1), ("defaults", None)):
        events = next((out / f"runs/{arm}").rglob("rifle_events.jsonl")).read_text().splitlines()
        assert json.loads(events[0])["block"]["max_re_num"] == number
        assert len(list((out / f"runs/{arm}/0/output").rglob("*.json"))) <= 1
    text = (out / "runs/block/0/train.log").read_text()
    curves = entry_group("rifle_ext.logs")["det"].load().from_text(text.splitlines())
    assert found["results"]["block"]["0"] == curves.metrics[8]
    plain, block = (lines[f"{arm}/0"]["losses"] for arm in ("plain", "block"))
    assert [plain[s] for s in "12"] == [block[s] for s in "12"]
    assert plain["3"] != block["3"]
    arms = ["--arm", "a", "--arm", "long:epoch=3"]
    assert main(command("det", path, tmp_path / "x", *arms)[3:]) == 2
    said = capsys.readouterr().err
    assert "the arms must be equally long, in iterations; they are: a: 8, long: 12" in said


def test_what_is_wrong_with_an_arm_is_told_with_its_name(seg, tmp_path, capsys):
    path = seg.config(rifle=True)
    arms = ["--arm", "a", "--arm", "b:rifle.max_re_nun=1"]
    assert main(command("seg", path, tmp_path / "x", "--dry-run", *arms)[3:]) == 2
    *_, first, second = capsys.readouterr().err.splitlines()
    assert first == f"[RIFLE] --arm b: {path}: the rifle block cannot be used:"
    assert second.startswith("  rifle.max_re_nun = 1: no such key; did you mean max_re_num?")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--seeds", "0"], "--seeds 0: allowed is a whole number, 1 or more"),
        (["--minutes", "-1"], "--minutes -1.0: allowed is a number above 0"),
        (["--tool", "nowhere.py"], "--tool nowhere.py: there is no such file"),
        (["--synthetic"], "a trial needs the data"),
        (
            ["-o", "rifle.max_re_num=2"],
            "--output rifle.max_re_num=2: the folder of the trial; here "
            "--opts alone overrides the config",
        ),
    ],
)
def test_wrong_options_are_one_message(flags, said, tmp_path, capsys):
    config = ROOT / "configs/seg/pp_liteseg.yml"
    given = ["trial", "--toolkit", "seg", "-c", str(config), "-o", str(tmp_path / "o"), *flags]
    assert main(given) == 2
    assert said in capsys.readouterr().err
