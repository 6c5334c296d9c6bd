"""Trainings of which a process holds a part only are refused before their first step."""

import os
import subprocess
import sys
import textwrap

import pytest

SCRIPT = textwrap.dedent(
    """
    import sys
    import paddle
    from paddle.distributed import fleet
    from rifle_ext import RIFLE
    from rifle_ext.errors import RifleError

    model = paddle.nn.Linear(4, 4)
    optimizer = paddle.optimizer.AdamW(parameters=model.parameters())
    if sys.argv[1] == "group":
        fleet.init(is_collective=True)
        from paddle.distributed.fleet.meta_parallel.sharding.group_sharded_optimizer_stage2 import (
            GroupShardedOptimizerStage2,
        )
        optimizer = object.__new__(GroupShardedOptimizerStage2)
    elif sys.argv[1] != "data":
        strategy = fleet.DistributedStrategy()
        strategy.hybrid_configs = {"dp_degree": 1, sys.argv[1]: 2}
        fleet.init(is_collective=True, strategy=strategy)
    else:
        fleet.init(is_collective=True)
    try:
        RIFLE(model, optimizer=optimizer)
        print("accepted")
    except RifleError as error:
        print("refused:", error)
    """
)


def outcome(kind, folder):
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    command += ["--backend", "gloo", "--log_dir", str(folder / "log"), str(script), kind]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, capture_output=True, timeout=120, env=environment, cwd=folder)
    logs = "".join(p.read_text(errors="replace") for p in (folder / "log").glob("workerlog.*"))
    lines = [line for line in logs.splitlines() if line.startswith(("accepted", "refused"))]
    assert lines, logs[-2000:]
    return lines[0]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("data", "accepted"),
        ("sharding_degree", "refused: paddle.distributed.fleet was set up with sharding paral"),
        ("mp_degree", "refused: paddle.distributed.fleet was set up with model parallelism (deg"),
        ("group", "refused: the optimizer is a GroupShardedOptimizerStage2: it wraps another"),
    ],
)
def test_parts_are_refused_and_data_parallelism_is_not(kind, said, tmp_path):
    assert outcome(kind, tmp_path).startswith(said)
