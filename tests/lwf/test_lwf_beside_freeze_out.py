"""An old head beside layers that freeze: the warm-up is waited for, the old head learns on."""

import json

import numpy as np
import pytest
from old_and_new import Tasks

pytestmark = pytest.mark.timeout(120)


def test_layers_freeze_after_the_warm_up_and_the_old_head_learns_to_the_end(seg):
    tasks = Tasks(seg)
    fields = {"freeze_out": {"t_0": 0.5}}
    _, _, after = tasks.new({"warm_up": 2}, fields=fields, iters=8, save_interval=1)
    lines = (seg.folder / "new/rifle_events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    plan = next(e for e in events if e["event"] == "plan" and e.get("method") == "freeze_out")
    assert (plan["start"], plan["waits_for"]) == (2, ["lwf"])
    first, *_ = plan["layers"]
    assert first["freezes_at"] == 5  # half of the six that are left
    assert [e["step"] for e in events if e["event"] == "freeze"][0] == 5
    name = first["parameters"][0]
    assert after.rates[0][name] == after.rates[1][name] == 0.0  # the warm-up
    assert np.array_equal(after.others[0][name], after.others[2][name])
    assert not np.array_equal(after.others[2][name], after.others[5][name])
    assert np.array_equal(after.others[5][name], after.others[7][name])
    before, at_the_end = tasks.head(step=7), tasks.head(step=8)
    assert not np.array_equal(before["head.3.weight"], at_the_end["head.3.weight"])


def test_an_optimizer_that_knows_names_is_refused(seg):
    import paddle

    from rifle_ext.errors import RifleError

    class ByName(paddle.optimizer.AdamW):
        """As AdamWDL of PaddleSeg: each parameter's depth by its name."""

        def _append_optimize_op(self, block, param_and_grad):
            return super()._append_optimize_op(block, param_and_grad)

    def made(builder):
        return ByName(parameters=builder.model.parameters())

    with pytest.raises(RifleError, match="a ByName, which knows its parameters by their names"):
        Tasks(seg).new(None, optimizer=made, iters=4)
