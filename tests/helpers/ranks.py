"""One rank of a training on several: writes what it has after each reset.

Usage: ranks.py seg|det FOLDER FLAGS_OF_THE_TRAIN_TOOL...
"""

import json
import os
import sys
from pathlib import Path

from rifle_ext.runtime.compat import before_paddle
from rifle_ext.training.registry import register

before_paddle()


def main(toolkit, folder, *flags):
    import paddle

    from rifle_ext.redraw.reset import digest
    from rifle_ext.training.hooks import Hook

    class Record(Hook):
        priority = 100
        seen, heads = {}, {}

        def on_step_begin(self, run, step):
            # Running statistics of batch normalization are each rank's own.
            own = ("._mean", "._variance")
            named = run.model.named_parameters()
            held = {name: p for name, p in named if not name.endswith(own)}
            for hook in run.methods.get("lwf", ()):
                held.update({f"old.{name}": p for name, p in hook._head.state().items()})
                self.heads[step] = digest(hook._head.state())
            self.seen[step] = digest(held)
            rank = paddle.distributed.get_rank()
            (Path(folder) / f"rank{rank}.json").write_text(json.dumps(self.seen))
            (Path(folder) / f"heads{rank}.json").write_text(json.dumps(self.heads))

    if os.environ.get("ODD_RANK") == os.environ.get("PADDLE_TRAINER_ID", "0"):
        from rifle_ext.redraw import fresh

        fresh.draw_seed = lambda seed, index: 12345
    register("rank_record", lambda block, source: [Record()])
    if toolkit == "seg":
        from seg_hooks.train import main as train
    else:
        from det_hooks.train import main as train
    train(list(flags))


if __name__ == "__main__":
    main(*sys.argv[1:])
