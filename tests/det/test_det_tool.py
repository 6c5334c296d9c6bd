"""Whole processes of PaddleDetection: the train tool, a kill, refusals, a run without the block."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from processes import result, run, run_unmodified, run_without_the_package

from det_hooks import tool
from rifle_ext.training.tools import Launch

pytestmark = pytest.mark.timeout(240)
HELPERS = ROOT / "tests/helpers"
RIFLE = {"re_init_iter": 6, "max_re_num": 2, "keep_last": 1}


def events(folder):
    lines = (folder / "rifle_events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def resets(found):
    return {event["step"]: event["digest"] for event in found if event["event"] == "reset"}


@pytest.mark.parametrize("autoload", ["0", "1"])
def test_train_tool_of_a_pip_only_install(det, autoload):
    path = det.config(rifle=None, epoch=2)
    flags = ["--eval", "-o", "rifle.re_init_iter=3", "rifle.max_re_num=2", "rifle.keep_last=1"]
    environment = {"RIFLE_EXT_AUTOLOAD": autoload, "FLAGS_set_to_1d": None}
    done = run("-m", "det_hooks.train", "-c", path, *flags, **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(resets(events(det.out(path)))) == [3, 6]
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "[RIFLE] reset" in line]
    assert len(lines) == 2
    assert all("ppdet.engine" in line and "INFO" in line for line in lines)
    assert "not active" not in done.stderr


def test_flags_are_those_of_the_standard_tool():
    home = os.environ.get("PADDLEDETECTION_HOME")
    if not home:
        pytest.skip("PADDLEDETECTION_HOME is not set: it takes a checkout of PaddleDetection")
    theirs = run_unmodified(Path(home) / "tools/train.py", home, "--help").stdout
    ours = run("-m", "det_hooks.train", "--help").stdout
    flags = {word.strip("[],") for word in theirs.split() if word.startswith(("-", "[-"))}
    assert {"--eval", "--slim_config", "--resume"} <= flags
    assert not {flag for flag in flags if flag not in ours}


@pytest.mark.parametrize("name", ["out", "a #1/x: y", "a\"b'c", "123", "出力 \U0001f600", "[x]"])
def test_a_trial_writes_into_the_folder_it_was_given(name):
    """PaddleDetection reads the values of its options as YAML."""
    from ppdet.utils.cli import ArgsParser

    parser = ArgsParser()
    parser.add_argument("--eval", action="store_true")  # as its train tool does
    for folder in (Path("/tmp") / name, Path(name)):
        launch = Launch("my.yml", ["epoch=2"], folder, 0, total_steps=8, steps_per_epoch=4)
        read = parser.parse_args(tool.flags(launch)).opt
        assert read["save_dir"] == read["output_eval"] == str(folder)
        assert read["epoch"] == 2


def test_standard_tool_of_a_checkout(det):
    home = os.environ.get("PADDLEDETECTION_HOME")
    if not home:
        pytest.skip("PADDLEDETECTION_HOME is not set: it takes a checkout of PaddleDetection")
    path = det.config(rifle={"max_re_num": 1}, epoch=1)
    done = run_unmodified(
        Path(home) / "tools/train.py", home, "-c", path, "-o", "rifle.re_init_iter=1"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(resets(events(det.out(path)))) == [1]


def test_killed_and_resumed_equals_uninterrupted(det):
    whole = det.config("whole.yml", rifle=RIFLE)
    killed = det.config("killed.yml", rifle=RIFLE, epoch=4)
    assert run("-m", "det_hooks.train", "-c", whole).returncode == 0
    wanted = resets(events(det.out(whole)))
    assert sorted(wanted) == [6, 12]

    command = [sys.executable, "-m", "det_hooks.train", "-c", str(killed)]
    # The next one: the toolkit writes a checkpoint's files one after the other.
    checkpoint = det.out(killed) / "2.pdparams"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        limit = time.time() + 120
        while not checkpoint.exists() and process.poll() is None and time.time() < limit:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert checkpoint.exists()
    done_before = len(events(det.out(killed)))
    done = run("-m", "det_hooks.train", "-c", killed, "-r", det.out(killed) / "1")
    assert done.returncode == 0, done.stderr[-2000:]
    found = events(det.out(killed))
    assert {"event": "resume", "step": 8} in found[done_before:]
    assert resets(found) == wanted
    assert sorted(resets(found[done_before:])) == [12]


def test_without_the_block_every_bit_is_that_of_a_run_without_the_package(det):
    path = det.config(epoch=2)
    script = HELPERS / "plain_det_train.py"
    without = result(run_without_the_package(script, path))
    installed = result(run(script, path))
    assert (without.pop("attached"), installed.pop("attached")) == (False, True)
    assert not installed["pydantic"]
    assert len(without["losses"]) == 8
    assert installed == without


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"max_re_nun": 2}, "rifle.max_re_nun = 2: no such key; did you mean max_re_num?"),
        ({"layers": ["yolo_head.pred_clz"]}, '"yolo_head.pred_clz" matches no parameter'),
    ],
)
def test_a_bad_block_ends_the_process_with_one_message(det, block, said):
    path = det.config(rifle=block)
    det.out(path).mkdir(parents=True)
    (det.out(path) / "rifle_events.jsonl").write_text("kept\n")
    done = run("-m", "det_hooks.train", "-c", path)
    assert done.returncode != 0
    assert f"[RIFLE] {path}: " in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "learning_rate" not in done.stdout + done.stderr
    left = [(p.name, p.read_text()) for p in det.out(path).iterdir()]
    assert left == [("rifle_events.jsonl", "kept\n")]
