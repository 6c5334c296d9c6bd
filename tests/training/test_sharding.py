"""Trainings of which a process holds a part only are refused before their first step."""

import pytest
from launching import CONNECTED, launch

SCRIPT = f"""
import sys
import paddle
from paddle.distributed import fleet
from paddle.distributed.fleet.base import topology
from paddle.distributed.fleet.meta_parallel.sharding.group_sharded_optimizer_stage2 import (
    GroupShardedOptimizerStage2,
)
from rifle_ext import RIFLE
from rifle_ext.errors import RifleError

model = paddle.nn.Linear(4, 4)
optimizer = paddle.optimizer.AdamW(parameters=model.parameters())
sharded = object.__new__(GroupShardedOptimizerStage2)


def split(kind):
    strategy = fleet.DistributedStrategy()
    strategy.hybrid_configs = {{"dp_degree": 1, "mp_degree": 1, "sharding_degree": 1, kind: 2}}
    return strategy


def told(kind, strategy, optimizer):
    topology._HYBRID_PARALLEL_GROUP = None  # fleet sets up one in a process
    fleet.init(is_collective=True, strategy=strategy)
    print({CONNECTED!r})
    try:
        RIFLE(model, optimizer=optimizer)
        print(kind, "accepted", flush=True)
    except RifleError as error:
        print(kind, "refused:", error, flush=True)


told("data", None, optimizer)
told("group", None, sharded)
told("sharding", split("sharding_degree"), optimizer)
told("model", split("mp_degree"), optimizer)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """{kind: what each of two ranks says}, asked one after the other in one launch."""
    folder = tmp_path_factory.mktemp("sharding")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    code, logs = launch(folder, script=script)
    assert code == 0, logs[-2000:]
    said = {}
    for line in logs.splitlines():
        kind, _, outcome = line.partition(" ")
        if outcome.startswith(("accepted", "refused")):
            said.setdefault(kind, []).append(outcome)
    return said


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("data", "accepted"),
        ("group", "refused: the optimizer is a GroupShardedOptimizerStage2: it wraps another"),
        ("sharding", "refused: paddle.distributed.fleet was set up with sharding paral"),
        ("model", "refused: paddle.distributed.fleet was set up with model parallelism (deg"),
    ],
)
def test_parts_are_refused_and_data_parallelism_is_not(told, kind, outcome):
    assert [said.startswith(outcome) for said in told[kind]] == [True, True]
