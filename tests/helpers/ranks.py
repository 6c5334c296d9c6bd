"""One rank of trainings on several, one after the other: writes what it has at each step.

Usage: ranks.py seg|det FOLDER FLAGS_OF_THE_TRAIN_TOOL... [-- FLAGS_OF_THE_TRAIN_TOOL...]...

A config says in `rank_record` under which name, and which rank is to draw other values, if any.
"""

import contextlib
import itertools
import json
import sys
from pathlib import Path

from launching import CONNECTED
from workspaces import workspace_kept

from rifle_ext.runtime.compat import before_paddle
from rifle_ext.training.registry import register

before_paddle()


def main(toolkit, folder, *flags):
    import paddle

    from rifle_ext.redraw import fresh
    from rifle_ext.redraw.reset import digest
    from rifle_ext.training.hooks import Hook

    if toolkit == "seg":
        from seg_hooks.train import main as train

        kept = contextlib.nullcontext
    else:
        from det_hooks.train import main as train

        kept = workspace_kept
    rank = paddle.distributed.get_rank()

    class Record(Hook):
        priority = 100

        def __init__(self, name):
            self.name, self.seen, self.heads = name, {}, {}

        def on_train_begin(self, run):
            print(CONNECTED, flush=True)

        def on_step_begin(self, run, step):
            # Running statistics of batch normalization are each rank's own.
            own = ("._mean", "._variance")
            named = run.model.named_parameters()
            held = {name: p for name, p in named if not name.endswith(own)}
            for hook in run.methods.get("lwf", ()):
                held.update({f"old.{name}": p for name, p in hook._head.state().items()})
                self.heads[step] = digest(hook._head.state())
            self.seen[step] = digest(held)
            for kind, digests in (("rank", self.seen), ("heads", self.heads)):
                written = Path(folder) / f"{self.name}_{kind}{rank}.json"
                written.write_text(json.dumps(digests))

    def record(block, source):
        if block.get("odd_rank") == rank:
            fresh.draw_seed = lambda seed, index: 12345
        return [Record(block["name"])]

    register("rank_record", record)
    for training in split(flags):
        with kept():
            train(training)


def split(flags):
    """The flags of each training."""
    parts = itertools.groupby(flags, lambda flag: flag == "--")
    return [list(part) for between, part in parts if not between]


if __name__ == "__main__":
    main(*sys.argv[1:])
