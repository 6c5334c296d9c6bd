"""Two processes that train together: every rank has the same head after every reset."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

SCRIPT = Path(__file__).parent / "ranks.py"
RIFLE = {"re_init_iter": 2, "max_re_num": 1}


def launch(folder, *arguments, **environment):
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    command += ["--backend", "gloo", "--log_dir", str(folder / "log"), str(SCRIPT)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment}
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        cwd=folder,
    )
    logs = "".join(p.read_text(errors="replace") for p in (folder / "log").glob("workerlog.*"))
    return done, logs


def seg_arguments(seg):
    ready = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
    path = seg.config(
        model=ready["model"], loss=ready["loss"], iters=4, batch_size=2, rifle=RIFLE, rank_record=1
    )
    flags = ["--config", path, "--device", "cpu", "--save_dir", seg.folder / "out"]
    return ["seg", seg.folder, *flags], seg.folder / "out/rifle_events.jsonl"


def det_arguments(det):
    path = det.config(epoch=2, rifle=RIFLE, rank_record=1)
    return ["det", det.folder, "-c", path], det.out(path) / "rifle_events.jsonl"


@pytest.mark.parametrize("toolkit", ["seg", "det"])
def test_both_ranks_have_the_same_values(toolkit, request):
    runs = request.getfixturevalue(toolkit)
    arguments, events = {"seg": seg_arguments, "det": det_arguments}[toolkit](runs)
    done, logs = launch(runs.folder, *arguments)
    assert done.returncode == 0, logs[-3000:]
    first, second = (json.loads((runs.folder / f"rank{r}.json").read_text()) for r in (0, 1))
    assert list(first) == ["0", "1", "2", "3"]
    assert first == second
    assert first["2"] != first["1"]
    assert [e["event"] for e in map(json.loads, events.read_text().splitlines())] == [
        "plan",
        "reset",
    ]


def test_a_rank_that_differs_stops_the_run(seg):
    arguments, _ = seg_arguments(seg)
    done, logs = launch(seg.folder, *arguments, ODD_RANK="1")
    assert done.returncode != 0
    assert "reset 1 after iteration 2: rank 1 has other values than rank 0" in logs
