"""Train a PaddleSeg model to its end, killed again and again at random moments and resumed.

Usage: killed_runs.py CONFIG SAVE_DIR KILLS SEED [best]

Each life is a forked process, so that it costs no imports. Prints ``LIVES n``. With ``best`` each
iteration is evaluated and is the best one so far, so that the best model is written anew each time,
and what a kill leaves of it is copied to SAVE_DIR/left/n.
"""

import zlib  # noqa: F401  isort: skip
import importlib
import itertools
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import old_and_new  # noqa: F401  which registers more
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


def better_and_better(*args, **kwargs):
    """An evaluation: mIoU, and four more things."""
    return next(NUMBERS), 0.0, 0.0, 0.0, 0.0


NUMBERS = itertools.count(1)


def live(path, folder, best):
    """One process of the training: from the last whole checkpoint to the end."""
    config = Config(path)
    utils.set_seed(7)
    builder = SegBuilder(config)
    whole = [checkpoint for checkpoint in checkpoints(folder)[-2:] if complete(checkpoint)]
    loop = importlib.import_module("paddleseg.core.train")
    evaluated = replaced(loop, evaluate=better_and_better)
    with replaced(paddle.io, DistributedBatchSampler=InOrder), evaluated:
        train(
            builder.model,
            builder.train_dataset,
            val_dataset=builder.val_dataset if best else None,
            optimizer=builder.optimizer,
            losses=builder.loss,
            save_dir=folder,
            iters=config.iters,
            batch_size=config.batch_size,
            save_interval=1,
            keep_checkpoint_max=1000,
            resume_model=str(whole[-1]) if whole else None,
        )


def main(path, folder, kills, seed, best=""):
    draw = random.Random(int(seed))
    lives = 0
    while True:
        lives += 1
        process = os.fork()
        if process == 0:
            code = 1
            try:
                live(path, folder, best)
                code = 0
            finally:
                os._exit(code)
        if lives > int(kills):
            _, status = os.waitpid(process, 0)
            assert status == 0, status
            print(f"LIVES {lives}")
            return
        _kill_at_random(process, folder, draw, best)
        if best and (Path(folder) / "best_model").exists():
            shutil.copytree(Path(folder) / "best_model", Path(folder) / f"left/{lives}")


def _kill_at_random(process, folder, draw, best):
    """After as many new checkpoints as drawn, or while the training is being set up.

    Of the best model, about when one of its files has been written and the others have not.
    """
    before, more = len(checkpoints(folder)), draw.choice([0, 1, 2, 3])
    wanted = Path(folder) / f"iter_{before + max(more, 1)}"  # each iteration writes one
    limit = time.monotonic() + (draw.uniform(0, 1) if more == 0 else 60)
    while not wanted.exists():
        if time.monotonic() > limit or os.waitpid(process, os.WNOHANG)[0]:
            break
        time.sleep(0.005)
    if best and more:
        head = Path(folder) / "best_model/model.pdlwf"
        written = _written(head)
        while _written(head) == written and time.monotonic() < limit:
            pass
    time.sleep(draw.uniform(0, 0.002 if best else 0.05))
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):
        raise SystemExit("a life ended by itself before it could be killed") from None


def _written(path):
    """When."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    main(*sys.argv[1:])
