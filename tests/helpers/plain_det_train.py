"""A PaddleDetection training that knows nothing of this package: prints what a comparison needs.

Usage: plain_det_train.py CONFIG
"""

import zlib  # noqa: F401  isort: skip
import hashlib
import json
import sys

import numpy as np
import paddle
from ppdet.core.workspace import load_config
from ppdet.engine import Trainer
from ppdet.engine.callbacks import Callback


def sha(state):
    """SHA-256 over the tensors of a state, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if isinstance(state[name], paddle.Tensor):
            digest.update(name.encode() + state[name].numpy().tobytes())
    return digest.hexdigest()


class Losses(Callback):
    seen = []

    def on_step_end(self, status):
        if status["mode"] == "train":
            self.seen.append(float(status["training_staus"].meters["loss"].value))


def main(path):
    paddle.seed(11)
    np.random.seed(11)
    trainer = Trainer(load_config(path), mode="train")
    trainer.register_callbacks([Losses(trainer)])
    trainer.train(True)
    result = {
        "losses": Losses.seen,
        "model": sha(trainer.model.state_dict()),
        "average": sha(trainer.ema.state_dict),
        "optimizer": sha(trainer.optimizer.state_dict()),
        "attached": hasattr(Trainer.train, "_rifle_ext"),
        "pydantic": "pydantic" in sys.modules,
    }
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
