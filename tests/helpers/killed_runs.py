"""Train a PaddleSeg model to its end, killed again and again at random moments and resumed.

Usage: killed_runs.py CONFIG SAVE_DIR KILLS SEED

Each life is a forked process, so that it costs no imports. Prints ``LIVES n``.
"""

import zlib  # noqa: F401  isort: skip
import os
import random
import signal
import sys
import time
from pathlib import Path

import paddle
from paddleseg.core import train
from paddleseg.cvlibs import Config, SegBuilder
from paddleseg.utils import utils
from seg_runs import InOrder  # which registers the tiny model, too

from rifle_ext.runtime.patching import replaced


def complete(checkpoint):
    """Whether the toolkit had finished writing a checkpoint."""
    try:
        paddle.load(str(checkpoint / "model.pdparams"))
        paddle.load(str(checkpoint / "model.pdopt"))
        return True
    except Exception:
        return False


def checkpoints(folder):
    """Those of iterations, in order."""
    found = Path(folder).glob("iter_*")
    return sorted(found, key=lambda path: int(path.name.split("_")[1]))


def live(path, folder):
    """One process of the training: from the last whole checkpoint to the end."""
    config = Config(path)
    utils.set_seed(7)
    builder = SegBuilder(config)
    whole = [checkpoint for checkpoint in checkpoints(folder)[-2:] if complete(checkpoint)]
    with replaced(paddle.io, DistributedBatchSampler=InOrder):
        train(
            builder.model,
            builder.train_dataset,
            optimizer=builder.optimizer,
            losses=builder.loss,
            save_dir=folder,
            iters=config.iters,
            batch_size=config.batch_size,
            save_interval=1,
            keep_checkpoint_max=1000,
            resume_model=str(whole[-1]) if whole else None,
        )


def main(path, folder, kills, seed):
    draw = random.Random(int(seed))
    lives = 0
    while True:
        lives += 1
        process = os.fork()
        if process == 0:
            code = 1
            try:
                live(path, folder)
                code = 0
            finally:
                os._exit(code)
        if lives > int(kills):
            _, status = os.waitpid(process, 0)
            assert status == 0, status
            print(f"LIVES {lives}")
            return
        _kill_at_random(process, folder, draw)


def _kill_at_random(process, folder, draw):
    """After as many new checkpoints as drawn, or while the training is being set up."""
    before, more = len(checkpoints(folder)), draw.choice([0, 1, 2, 3])
    limit = time.monotonic() + (draw.uniform(0, 1) if more == 0 else 60)
    while len(checkpoints(folder)) < before + more or more == 0:
        if time.monotonic() > limit or os.waitpid(process, os.WNOHANG)[0]:
            break
        time.sleep(0.002)
    time.sleep(draw.uniform(0, 0.1))
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):
        raise SystemExit("a life ended by itself before it could be killed") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
